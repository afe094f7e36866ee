"""The slots of a worker, as the edge uses them."""

import asyncio

import pytest

from identity_service.http.binding import BoundOperation
from identity_service.limits import OPERATIONS
from identity_service.operations import identities, status
from identity_service.ports import Acs
from tests.http.edge import content, memory_services, request, serve
from tests.support.world import World
from tools.openapi.document import operations


async def hang(acs: Acs) -> None:
    """Wait for an upstream that never responds."""
    await asyncio.Event().wait()


def test_hanging_operations(virtual_time: asyncio.Runner, world: World) -> None:
    """While operations hang, new calls are refused at once; health and openapi respond.

    A slot is used until the operation ends, not until its caller has a response.
    """
    services = memory_services(world)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        hanging = [serve(request(), hang, services) for _ in range(OPERATIONS)]
        codes = [content(response)["code"] for response in await asyncio.gather(*hanging)]
        assert codes == ["acs_too_slow"] * OPERATIONS
        started = loop.time()
        refused = await serve(request(), identities.list_identities, services)

        assert (refused.status_code, content(refused)["code"]) == (503, "overloaded")
        assert refused.headers["Retry-After"] == "1"
        for operation in (status.health, status.openapi):
            assert (await serve(request(), operation, services)).status_code == 200
        assert loop.time() == started

    virtual_time.run(scenario())


@pytest.mark.parametrize("name", operations())
def test_every_operation_that_waits_for_an_upstream_uses_a_slot(name: str, world: World) -> None:
    """Only health and openapi wait for nothing, and ready asks once for all callers together."""
    bound = BoundOperation(operations()[name], memory_services(world))

    assert bound.calls_upstream == (name not in {"health", "openapi", "ready"})
