"""The sweep purges what is due, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial

import aiohttp
import pytest

from tests.support.client import CHAT, Client, Control, until
from tests.support.stack import App, Azure, running_app

FINISHED = "sweep_finished due="
DOWN = {"operation": "delete", "status": 503}


@pytest.fixture(scope="module")
def app_with_one_attempt(azure: Azure, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A worker for which an entry is stuck after one failure."""
    settings = {"CLEANUP_MAX_ATTEMPTS": "1", "DELETED_IDENTITY_RETENTION_DAYS": "0"}
    with running_app(azure, tmp_path_factory.mktemp("one-attempt"), settings) as started:
        yield started


@pytest.fixture
async def one_attempt(
    session: aiohttp.ClientSession, app_with_one_attempt: App, control: Control
) -> AsyncIterator[Client]:
    """A service that calls this worker. Stuck identities are purged at the end."""
    api = Client(session, app_with_one_attempt)
    yield api
    await control.clear()
    for identity_id in await api.all_ids("deleted-identities?stuck=true"):
        await api.delete(f"deleted-identities/{identity_id}")


async def stuck_identity(one_attempt: Client, control: Control) -> str:
    """Returns the id of an identity that the sweep failed to purge."""
    identity_id = await one_attempt.deleted_identity()
    await control.inject("status", **DOWN)
    await one_attempt.sweep()

    async def is_stuck() -> bool:
        return identity_id in await one_attempt.all_ids("deleted-identities?stuck=true")

    await until(is_stuck)
    return identity_id


async def test_due_identities_are_purged(no_retention: Client, control: Control) -> None:
    """They are removed from ACS and from the registry."""
    sweeps = no_retention.app.log.count(FINISHED)
    identities = [await no_retention.deleted_identity() for _ in range(3)]

    await no_retention.sweep()

    for identity_id in identities:
        await until(partial(no_retention.is_gone, identity_id))
        assert await control.state(identity_id) == "deleted"
    await until(lambda: logged(no_retention, FINISHED, sweeps + 1))


async def test_identities_that_are_not_due_stay(
    api: Client, no_retention: Client, control: Control
) -> None:
    """This holds for active identities and for those deleted for seven days."""
    kept, active, due = (
        await api.deleted_identity(),
        await api.new_identity(),
        await no_retention.deleted_identity(),
    )

    await no_retention.sweep()

    await until(lambda: no_retention.is_gone(due))
    assert not await api.is_gone(kept)
    assert [await control.state(each) for each in (kept, active)] == ["active", "active"]
    (await api.get(f"identities/{active}")).assert_success()


async def test_restored_identities_stay(no_retention: Client, control: Control) -> None:
    """This holds even if the purge was due."""
    restored, due = await no_retention.deleted_identity(), await no_retention.deleted_identity()
    (await no_retention.post(f"deleted-identities/{restored}/restore")).assert_success()

    await no_retention.sweep()

    await until(lambda: no_retention.is_gone(due))
    assert await control.state(restored) == "active"
    (await no_retention.get(f"identities/{restored}")).assert_success()


async def test_sweeps_at_once_purge_everything_once(
    no_retention: Client, api: Client, control: Control
) -> None:
    """All due identities are purged, and no sweep fails."""
    sweeps = {worker: worker.app.log.count(FINISHED) for worker in (no_retention, api)}
    identities = [await no_retention.deleted_identity() for _ in range(10)]

    await asyncio.gather(no_retention.sweep(), api.sweep(), no_retention.sweep(), api.sweep())

    for worker, before in sweeps.items():
        await until(partial(logged, worker, FINISHED, before + 2))
    assert [each for each in identities if not await no_retention.is_gone(each)] == []
    states = await control.identities()
    assert {states[each] for each in identities} == {"deleted"}
    assert "Traceback" not in no_retention.app.log + api.app.log


async def test_a_purge_that_another_sweep_has_begun_is_finished(
    no_retention: Client, api: Client, control: Control
) -> None:
    """ACS deleted for the first sweep and responds 404 to the second: the entry is removed."""
    sweeps = api.app.log.count(FINISHED)
    identity_id = await no_retention.deleted_identity()
    await control.inject("hang", operation="delete", when="after", times=1)
    before = await control.attempts("delete")
    await no_retention.sweep()
    await until(lambda: asked_for_deletion(control, before))

    await api.sweep()

    await until(lambda: logged(api, FINISHED, sweeps + 1))
    await control.clear()
    await until(lambda: no_retention.is_gone(identity_id), seconds=5)


async def test_an_identity_that_fails_too_often_is_stuck(
    one_attempt: Client, api: Client, control: Control
) -> None:
    """The list has its attempts and its last error, and the log has an error."""
    ordinary = await api.deleted_identity()

    identity_id = await stuck_identity(one_attempt, control)

    found = (await one_attempt.get(f"deleted-identities/{identity_id}")).assert_success()
    assert (found["state"], found["attempts"]) == ("purging", 1)
    assert found["lastError"] == "acs_unavailable"
    assert ordinary not in await one_attempt.all_ids("deleted-identities?stuck=true")
    assert identity_id not in await api.all_ids("deleted-identities?stuck=true")
    assert f"identity_stuck identity_id={identity_id}" in one_attempt.app.log


async def test_an_identity_being_purged_is_404(one_attempt: Client, control: Control) -> None:
    """It cannot be read, restored or deleted, and yields no token."""
    identity_id = await stuck_identity(one_attempt, control)
    await control.clear()

    replies = [
        await one_attempt.get(f"identities/{identity_id}"),
        await one_attempt.delete(f"identities/{identity_id}"),
        await one_attempt.post(f"deleted-identities/{identity_id}/restore"),
    ]
    token = await one_attempt.post(f"identities/{identity_id}/tokens", CHAT)

    for reply in replies:
        reply.assert_problem(404, "identity_not_found")
    assert "token" not in token.json()
    token.assert_problem(token.status, token.json()["code"])
    assert token.status in (404, 409)


async def test_a_stuck_identity_can_be_purged_by_a_caller(
    one_attempt: Client, control: Control
) -> None:
    """The purge succeeds as soon as ACS works."""
    identity_id = await stuck_identity(one_attempt, control)
    await control.clear()

    reply = await one_attempt.delete(f"deleted-identities/{identity_id}")

    reply.assert_success(204)
    assert await control.state(identity_id) == "deleted"
    assert await one_attempt.is_gone(identity_id)


async def test_a_failed_purge_succeeds_when_repeated(api: Client, control: Control) -> None:
    """The identity stays in the state of being purged meanwhile."""
    identity_id = await api.deleted_identity()
    await control.inject("status", **DOWN)
    (await api.delete(f"deleted-identities/{identity_id}")).assert_problem(503, "acs_unavailable")
    await control.clear()

    reply = await api.delete(f"deleted-identities/{identity_id}")

    reply.assert_success(204)
    assert await control.state(identity_id) == "deleted"


async def test_a_throttled_sweep_leaves_its_entries_due(
    no_retention: Client, control: Control
) -> None:
    """Throttling is not counted as a failure; the next sweep purges them."""
    identity_id = await no_retention.deleted_identity()
    await control.inject("status", operation="delete", status=429, retryAfter=0)
    before = await control.attempts("delete")
    await no_retention.sweep()
    await until(lambda: asked_for_deletion(control, before))
    await control.clear()

    await no_retention.sweep()

    await until(lambda: no_retention.is_gone(identity_id))


async def asked_for_deletion(control: Control, before: int) -> bool:
    """Whether ACS has received a deletion since."""
    return await control.attempts("delete") > before


async def logged(api: Client, text: str, times: int) -> bool:
    """Whether the log contains the text this often."""
    return api.app.log.count(text) >= times
