"""health: whether the app has valid settings."""

import pytest

from identity_service.operations.status import health
from identity_service.schemas import HealthResponse, UnhealthyResponse


@pytest.mark.parametrize(
    ("is_configured", "expected"),
    [(True, HealthResponse(status="ok")), (False, UnhealthyResponse(status="not_configured"))],
)
async def test_health(is_configured: bool, expected: HealthResponse) -> None:
    """The status says whether the settings are valid. The response has nothing else."""
    response = await health(is_configured)

    assert (response, type(response)) == (expected, type(expected))
    assert response.http_status == (200 if is_configured else 503)
