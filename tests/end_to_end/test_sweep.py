"""The sweep, run through the host's own door: it finishes what is due and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.end_to_end.client import CHAT, Api, Control, until
from tests.end_to_end.stack import App, Azure, running_app

FINISHED = "sweep_finished due="
DOWN = {"operation": "delete", "status": 503}


@pytest.fixture(scope="module")
def app_that_gives_up(azure: Azure, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A worker that is stuck with an entry after one failure."""
    settings = {"CLEANUP_MAX_ATTEMPTS": "1", "DELETED_IDENTITY_RETENTION_DAYS": "0"}
    with running_app(azure, tmp_path_factory.mktemp("impatient"), settings) as running:
        yield running


@pytest.fixture
async def impatient(
    session: aiohttp.ClientSession, app_that_gives_up: App, control: Control
) -> AsyncIterator[Api]:
    """Its operations; what it is stuck with goes at the end."""
    api = Api(session, app_that_gives_up)
    yield api
    await control.peace()
    for identity_id in await api.all_ids("deleted-identities?stuck=true"):
        await api.delete(f"deleted-identities/{identity_id}")


async def stuck_identity(impatient: Api, control: Control) -> str:
    """The id of an identity that the sweep could not purge."""
    identity_id = await impatient.deleted_identity()
    await control.fault("status", **DOWN)
    await impatient.sweep()

    async def is_stuck() -> bool:
        return identity_id in await impatient.all_ids("deleted-identities?stuck=true")

    await until(is_stuck)
    return identity_id


async def test_what_is_due_is_purged(hasty: Api, control: Control) -> None:
    """In ACS and in the registry, and the log says how it went in one line."""
    sweeps = hasty.app.log.count(FINISHED)
    identities = [await hasty.deleted_identity() for _ in range(3)]

    await hasty.sweep()

    for identity_id in identities:
        await until(lambda name=identity_id: hasty.is_gone(name))  # type: ignore[misc]  # a lambda's default is untyped
        assert await control.state(identity_id) == "deleted"
    await until(lambda: logged(hasty, FINISHED, sweeps + 1))


async def test_what_is_not_due_stays(api: Api, hasty: Api, control: Control) -> None:
    """Deleted for seven days, active, or made elsewhere: a sweep passes by."""
    kept, active, due = (
        await api.deleted_identity(),
        await api.new_identity(),
        await hasty.deleted_identity(),
    )

    await hasty.sweep()

    await until(lambda: hasty.is_gone(due))
    assert not await api.is_gone(kept)
    assert [await control.state(each) for each in (kept, active)] == ["active", "active"]
    (await api.get(f"identities/{active}")).assert_success()


async def test_what_was_restored_in_time_stays(hasty: Api, control: Control) -> None:
    """Even when its purge was due."""
    restored, due = await hasty.deleted_identity(), await hasty.deleted_identity()
    (await hasty.post(f"deleted-identities/{restored}/restore")).assert_success()

    await hasty.sweep()

    await until(lambda: hasty.is_gone(due))
    assert await control.state(restored) == "active"
    (await hasty.get(f"identities/{restored}")).assert_success()


async def test_two_sweeps_at_once_do_no_harm(hasty: Api, api: Api, control: Control) -> None:
    """All that was due is purged, and nobody stumbles."""
    sweeps = {worker: worker.app.log.count(FINISHED) for worker in (hasty, api)}
    identities = [await hasty.deleted_identity() for _ in range(10)]

    await asyncio.gather(hasty.sweep(), api.sweep(), hasty.sweep(), api.sweep())

    for worker, before in sweeps.items():
        await until(lambda w=worker, n=before: logged(w, FINISHED, n + 2))  # type: ignore[misc]  # a lambda's default is untyped
    assert [each for each in identities if not await hasty.is_gone(each)] == []
    states = await control.identities()
    assert {states[each] for each in identities} == {"deleted"}
    assert "Traceback" not in hasty.app.log + api.app.log


async def test_a_sweep_that_meets_the_work_of_another_lets_it_finish(
    hasty: Api, api: Api, control: Control
) -> None:
    """ACS has deleted for the first one, and refuses the second: the entry goes all the same."""
    sweeps = api.app.log.count(FINISHED)
    identity_id = await hasty.deleted_identity()
    await control.fault("hang", operation="delete", when="after", times=1)
    before = await control.attempts("delete")
    await hasty.sweep()
    await until(lambda: asked_for_deletion(control, before))

    await api.sweep()

    await until(lambda: logged(api, FINISHED, sweeps + 1))
    await control.peace()
    await until(lambda: hasty.is_gone(identity_id), seconds=5)


async def test_an_identity_that_cannot_be_purged_is_listed_as_stuck(
    impatient: Api, api: Api, control: Control
) -> None:
    """With how often and why, and as an error in the log."""
    ordinary = await api.deleted_identity()

    identity_id = await stuck_identity(impatient, control)

    found = (await impatient.get(f"deleted-identities/{identity_id}")).assert_success()
    assert (found["state"], found["attempts"]) == ("purging", 1)
    assert found["lastError"] == "acs_unavailable"
    assert ordinary not in await impatient.all_ids("deleted-identities?stuck=true")
    assert identity_id not in await api.all_ids("deleted-identities?stuck=true")
    assert f"identity_stuck identity_id={identity_id}" in impatient.app.log


async def test_what_is_being_purged_is_gone_for_everybody(impatient: Api, control: Control) -> None:
    """It cannot be had, restored or deleted any more, and gives no token."""
    identity_id = await stuck_identity(impatient, control)
    await control.peace()

    replies = [
        await impatient.get(f"identities/{identity_id}"),
        await impatient.delete(f"identities/{identity_id}"),
        await impatient.post(f"deleted-identities/{identity_id}/restore"),
    ]
    token = await impatient.post(f"identities/{identity_id}/tokens", CHAT)

    for reply in replies:
        reply.assert_problem(404, "identity_not_found")
    assert "token" not in token.json()
    token.assert_problem(token.status, token.json()["code"])
    assert token.status in (404, 409)


async def test_what_is_stuck_can_be_purged_by_hand(impatient: Api, control: Control) -> None:
    """Once ACS is well again."""
    identity_id = await stuck_identity(impatient, control)
    await control.peace()

    reply = await impatient.delete(f"deleted-identities/{identity_id}")

    reply.assert_success(204)
    assert await control.state(identity_id) == "deleted"
    assert await impatient.is_gone(identity_id)


async def test_a_purge_that_fails_by_hand_is_finished_by_asking_again(
    api: Api, control: Control
) -> None:
    """It stays on its way out meanwhile."""
    identity_id = await api.deleted_identity()
    await control.fault("status", **DOWN)
    (await api.delete(f"deleted-identities/{identity_id}")).assert_problem(503, "acs_unavailable")
    await control.peace()

    reply = await api.delete(f"deleted-identities/{identity_id}")

    reply.assert_success(204)
    assert await control.state(identity_id) == "deleted"


async def test_a_throttled_sweep_leaves_its_entries_due(hasty: Api, control: Control) -> None:
    """Without counting it as a failure; the next sweep purges them."""
    identity_id = await hasty.deleted_identity()
    await control.fault("status", operation="delete", status=429, retryAfter=0)
    before = await control.attempts("delete")
    await hasty.sweep()
    await until(lambda: asked_for_deletion(control, before))
    await control.peace()

    await hasty.sweep()

    await until(lambda: hasty.is_gone(identity_id))


async def asked_for_deletion(control: Control, before: int) -> bool:
    """Whether ACS was asked to delete since."""
    return await control.attempts("delete") > before


async def logged(api: Api, text: str, times: int) -> bool:
    """Whether the app's log says so, so often."""
    return api.app.log.count(text) >= times
