"""openapi: the OpenAPI document."""

from pathlib import Path

from identity_service.operations.status import openapi

DOCUMENT = Path(__file__).parents[2] / "openapi.json"


async def test_committed_document() -> None:
    """The response is the committed document, byte for byte, also the second time."""
    for _ in range(2):
        assert bytes(await openapi()) == DOCUMENT.read_bytes()
