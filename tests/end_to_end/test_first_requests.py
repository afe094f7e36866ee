"""The first requests of a cold worker."""

import asyncio
import re
from collections.abc import Awaitable

import pytest

from tests.support.client import CHAT, Client, Control, Reply, until
from tests.support.fixtures import StartApp
from tools.openapi.document import routes

ROUTES = {route.name: route for route in routes()}
# The loggers in lines of the local host. Other hosts do not name them.
LOGGER = re.compile(r"^\d{4}-\S+Z [A-Z]+ ([\w.]+) \[", re.MULTILINE)
# What the libraries would log.
OF_LIBRARIES = re.compile("Request URL|Response status|ManagedIdentityCredential|Unclosed")
APP_ID = "11111111-2222-3333-4444-555555555555"
BODIES: dict[str, object] = {
    "create_identity": {"userId": "a user of a cold worker"},
    "create_identity_with_token": {**CHAT, "userId": "another user of a cold worker"},
    "issue_token": CHAT,
    "exchange_teams_token": {"token": "a.b.c", "appId": APP_ID, "userId": APP_ID},
    "exchange_my_teams_token": {"token": "a.b.c"},
}
ONE_EACH = {"https://communication.azure.com": 1, "https://storage.azure.com": 1}


async def test_a_hundred_first_requests_fetch_each_token_once(
    start_app: StartApp, control: Control
) -> None:
    """All succeed, over no more connections than one client opens."""
    cold = start_app()
    before = await control.token_requests()

    replies = await asyncio.gather(*(cold.post("identities/with-token", CHAT) for _ in range(100)))

    assert len({reply.assert_success(201)["id"] for reply in replies}) == 100
    assert await token_requests_since(before, control) == ONE_EACH
    assert await control.most_calls_in_flight() <= 100


@pytest.mark.parametrize("name", ROUTES)
async def test_a_cold_worker_logs_nothing_but_events(
    name: str, start_app: StartApp, api: Client, control: Control, user: str
) -> None:
    """Whichever operation comes first, no library logs anything, and no hash of a user id.

    The app's own check at its end also searches its log for secrets.
    """
    cold = start_app()
    me = cold.signed_in(await control.sign_in(user))
    route = ROUTES[name]
    path = route.path.replace("{id}", await api.new_identity())
    # This query asks the registry for a user.
    query = "?userId=a+user+of+a+cold+worker" if name == "list_identities" else ""

    caller = me if path.startswith("me") else cold
    await caller.call(route.method, path + query, BODIES.get(name))

    log = cold.app.log
    assert {
        each for each in LOGGER.findall(log) if not each.startswith("identity_service")
    } == set()
    assert OF_LIBRARIES.findall(log) == []


async def test_the_warm_up_fetches_the_tokens(start_app: StartApp, control: Control) -> None:
    """The first request after it fetches none."""
    before = await control.token_requests()
    warm = start_app()

    await warm.warm_up()

    assert await token_requests_since(before, control) == ONE_EACH
    await warm.new_identity()
    assert await token_requests_since(before, control) == ONE_EACH


async def test_the_first_requests_wait_for_a_slow_managed_identity(
    start_app: StartApp, api: Client, control: Control
) -> None:
    """With a second for each token, every operation succeeds in time."""
    identity_id = await api.new_identity()
    cold = start_app()
    await control.inject_identity_fault(delaySeconds=1)

    replies = await asyncio.gather(*every_operation(cold, identity_id))

    assert [reply.status for reply in replies] == [201, 201, 200, 204, 200, 200]
    assert all(reply.seconds < 10 for reply in replies)


@pytest.mark.parametrize(
    "fault",
    [{"delaySeconds": 60}, {"drop": True}],
    ids=["hanging", "down"],
)
async def test_without_a_managed_identity_the_first_requests_fail_in_time(
    start_app: StartApp, api: Client, control: Control, fault: dict[str, object]
) -> None:
    """They succeed as soon as it works again."""
    identity_id = await api.new_identity()
    cold = start_app()
    await control.inject_identity_fault(**fault)

    replies = await asyncio.gather(*every_operation(cold, identity_id))

    for reply in replies:
        reply.assert_problem(503, "registry_unavailable")
    await control.clear()

    async def creates() -> bool:
        return (await cold.post("identities")).status == 201

    await until(creates)


async def token_requests_since(before: dict[str, int], control: Control) -> dict[str, int]:
    """Returns how many tokens for ACS and storage were requested since."""
    now = await control.token_requests()
    return {name: now.get(name, 0) - before.get(name, 0) for name in ONE_EACH}


def every_operation(api: Client, identity_id: str) -> list[Awaitable[Reply]]:
    """Calls that need ACS, the registry, or both."""
    return [
        api.post("identities"),
        api.post("identities/with-token", CHAT),
        api.post(f"identities/{identity_id}/tokens", CHAT),
        api.delete(f"identities/{identity_id}/tokens"),
        api.get(f"identities/{identity_id}"),
        api.get("identities"),
    ]
