"""The queries of docs/operate.md that answer an auditor's questions, on lines that the app logs."""

from datetime import timedelta
from typing import Any

import pytest

from identity_service.identity import SignedInUser
from identity_service.log import current_invocation
from identity_service.operations.me import delete_me
from tests.infra.test_alerts import DOCUMENTED
from tests.infra.workspace import UNKNOWN, Workspace, calls, finishes
from tests.support.world import (
    ACS_IS_DOWN,
    CLIENT_ID,
    OBJECT_ID,
    RETENTION,
    SECOND,
    TABLE_IS_DOWN,
    TENANT_ID,
    World,
    refusal,
)

ALICE = SignedInUser("alice")
APPLICATION = "11111111-2222-3333-4444-555555555555"
SERVICE = f"service:{APPLICATION}"
OTHER_SERVICE = "service:99999999-2222-3333-4444-555555555555"


async def delete_as_user(world: World, user: SignedInUser) -> None:
    """The user deletes their own identity."""
    calls("user")
    await delete_me(user, world.registry, world.lifecycle, world.deletion)


def ask(workspace: Workspace, question: str, identity_id: str = "") -> list[dict[str, Any]]:
    """The rows of the documented query for this identity."""
    query = DOCUMENTED[f"{question}-0"]
    query = query.replace("8:acs:…", identity_id).replace("APPLICATION-ID", APPLICATION)
    return workspace.query(query)


def only(rows: list[dict[str, Any]], *columns: str) -> list[tuple[Any, ...]]:
    """These columns of the rows."""
    return [tuple(row[column] for column in columns) for row in rows]


# Who deleted or suspended this identity

WHO_DELETED = "Who deleted or suspended this identity"


async def test_who_deleted(world: World, workspace: Workspace) -> None:
    """The last line names the service, after the user's own deletion and its restore."""
    identity_id = await world.active(ALICE.user_id)
    await delete_as_user(world, ALICE)
    world.clock.advance(SECOND)
    calls("key")
    await world.restore(identity_id)
    world.clock.advance(SECOND)
    calls(SERVICE)
    await world.delete(identity_id)

    rows = ask(workspace, WHO_DELETED, identity_id)

    assert only(rows, "Event", "caller", "deleted_by") == [
        ("identity_deleted", "user", "user"),
        ("identity_restored", "key", "user"),
        ("identity_deleted", SERVICE, "service"),
    ]


async def test_who_took_over_a_deletion(world: World, workspace: Workspace) -> None:
    """A service that repeats a user's deletion is named."""
    identity_id = await world.active(ALICE.user_id)
    await delete_as_user(world, ALICE)
    world.clock.advance(SECOND)
    calls(SERVICE)
    await world.delete(identity_id)

    rows = ask(workspace, WHO_DELETED, identity_id)

    assert only(rows, "Event", "caller") == [
        ("identity_deleted", "user"),
        ("deletion_taken_over", SERVICE),
    ]


async def test_who_suspended(world: World, workspace: Workspace) -> None:
    """Both ends of a suspension are named."""
    identity_id = await world.active()
    calls(SERVICE)
    await world.lifecycle.suspend(identity_id, registered_only=False)
    world.clock.advance(SECOND)
    calls("key")
    await world.lifecycle.resume(identity_id)

    rows = ask(workspace, WHO_DELETED, identity_id)

    assert only(rows, "Event", "caller") == [
        ("identity_suspended", SERVICE),
        ("identity_resumed", "key"),
    ]


async def test_who_deleted_only_this_identity(world: World, workspace: Workspace) -> None:
    """Deletions of other identities are not in the result."""
    identity_id = await world.active()
    calls(SERVICE)
    await world.delete(await world.active())

    assert ask(workspace, WHO_DELETED, identity_id) == []


# Who gave or removed Teams Phone access

WHO_GAVE = "Who gave or removed Teams Phone access"


async def test_who_gave_and_removed_access(world: World, workspace: Workspace) -> None:
    """Each change is named with its caller, and those of other users are left out."""
    calls(SERVICE)
    await world.assign_access()
    await world.assign_access(CLIENT_ID)
    world.clock.advance(SECOND)
    calls("key")
    await world.remove_access()
    query = DOCUMENTED[f"{WHO_GAVE}-0"].replace("OBJECT", OBJECT_ID)

    rows = workspace.query(query)

    assert only(rows, "Event", "caller", "tenant_id") == [
        ("teams_access_assigning", SERVICE, TENANT_ID),
        ("teams_access_assigned", SERVICE, TENANT_ID),
        ("teams_access_removing", "key", TENANT_ID),
        ("teams_access_removed", "key", TENANT_ID),
    ]


# When was it purged, and by what

WHEN_PURGED = "When was it purged, and by what"


async def test_purged_by_the_sweep(world: World, workspace: Workspace) -> None:
    """The sweep purges after the retention, and the time says so."""
    identity_id = await world.active()
    calls(SERVICE)
    await world.delete(identity_id)
    world.clock.advance(RETENTION)
    calls("sweep")
    await world.sweep()

    rows = ask(workspace, WHEN_PURGED, identity_id)

    assert only(rows, "Event", "caller") == [
        ("identity_purge_started", "sweep"),
        ("identity_purged", "sweep"),
    ]
    assert rows[-1]["TimeGenerated"][:10] == world.clock.now().date().isoformat()


async def test_purged_by_the_sweep_after_a_service_started_it(
    world: World, workspace: Workspace
) -> None:
    """A service decided it, and the sweep finished it when ACS responded again."""
    identity_id = await world.deleted()
    world.acs.fails("delete", ACS_IS_DOWN)
    calls(SERVICE)
    await refusal(world.purge(identity_id))
    world.pass_lease()
    calls("sweep")
    await world.sweep()

    rows = ask(workspace, WHEN_PURGED, identity_id)

    assert only(rows, "Event", "caller") == [
        ("identity_purge_started", SERVICE),
        ("identity_purged", "sweep"),
    ]


async def test_undone_by_its_creation(world: World, workspace: Workspace) -> None:
    """An identity that could not be recorded was deleted in ACS by the call that created it."""
    world.registry.fails("insert", TABLE_IS_DOWN)
    calls(SERVICE)
    await refusal(world.create())
    identity_id = current_invocation().identity_id

    rows = ask(workspace, WHEN_PURGED, identity_id)

    assert only(rows, "Event", "caller") == [("creation_undone", SERVICE)]


async def test_not_purged_but_unregistered(world: World, workspace: Workspace) -> None:
    """An identity that the registry has forgotten was not purged."""
    identity_id = await world.active()
    calls("key")
    await world.unregister(identity_id)

    rows = ask(workspace, WHEN_PURGED, identity_id)

    assert only(rows, "Event", "caller") == [("identity_unregistered", "key")]


# Why was this user refused

WHY_REFUSED = "Why was this user refused"


@pytest.mark.parametrize("caller", ["user", "key", SERVICE])
async def test_refused_with_their_identity(world: World, workspace: Workspace, caller: str) -> None:
    """A refusal of the user's identity has its reason, whoever called."""
    identity_id = await world.active()
    finishes(caller, "issue_token", 200, "ok", identity_id)
    finishes(caller, "issue_token", 409, "identity_suspended", identity_id)

    rows = ask(workspace, WHY_REFUSED, identity_id)

    assert only(rows, "status", "code", "caller") == [(409, "identity_suspended", caller)]


@pytest.mark.parametrize(
    ("caller", "status", "code"),
    [("user", 429, "too_many_calls"), (UNKNOWN, 401, "not_signed_in")],
)
async def test_refused_before_the_identity_is_known(
    world: World, workspace: Workspace, caller: str, status: int, code: str
) -> None:
    """Calls of users that were refused early have no identity, and are in the result."""
    finishes(caller, "issue_my_token", status, code)

    rows = ask(workspace, WHY_REFUSED, await world.active())

    assert only(rows, "identity_id", "code") == [("-", code)]


@pytest.mark.parametrize("caller", ["key", SERVICE])
async def test_refusals_of_others(world: World, workspace: Workspace, caller: str) -> None:
    """Neither services without an identity nor other users' identities are in the result."""
    finishes(caller, "create_identity", 400, "invalid_body")
    finishes("user", "issue_my_token", 409, "identity_deleted", await world.active())

    assert ask(workspace, WHY_REFUSED, await world.active()) == []


# What did this application do today

WHAT_DONE = "What did this application do today"


async def test_what_an_application_did(world: World, workspace: Workspace) -> None:
    """Its calls and its changes are counted, by their result."""
    for _ in range(2):
        identity_id = await world.active()
        calls(SERVICE)
        await world.delete(identity_id)
        finishes(SERVICE, "delete_identity", 202, "ok", identity_id)
    finishes(SERVICE, "delete_identity", 404, "identity_not_found")

    rows = ask(workspace, WHAT_DONE)

    found = only(rows, "Event", "operation", "status", "code", "Lines", "Identities")
    assert {
        ("operation_finished", "delete_identity", 202, "ok", 2, 2),
        ("operation_finished", "delete_identity", 404, "identity_not_found", 1, 0),
        ("identity_deleted", "", None, "", 2, 2),
    } <= set(found)


async def test_what_an_application_did_when(world: World, workspace: Workspace) -> None:
    """The first and the last time of each row are in the result."""
    finishes(SERVICE, "ready", 200, "ok")
    first = world.clock.now()
    world.clock.advance(SECOND)
    finishes(SERVICE, "ready", 200, "ok")

    [row] = ask(workspace, WHAT_DONE)

    assert row["First"][:19] == f"{first:%Y-%m-%dT%H:%M:%S}"
    assert row["Last"][:19] == f"{first + SECOND:%Y-%m-%dT%H:%M:%S}"


@pytest.mark.parametrize("caller", ["key", "user", "sweep", OTHER_SERVICE])
async def test_what_others_did(workspace: Workspace, caller: str) -> None:
    """What other callers did is not in the result."""
    finishes(caller, "delete_identity", 202, "ok")

    assert ask(workspace, WHAT_DONE) == []


async def test_what_an_application_did_yesterday(world: World, workspace: Workspace) -> None:
    """A day begins at midnight in UTC."""
    finishes(SERVICE, "delete_identity", 202, "ok")
    world.clock.advance(timedelta(hours=12))

    assert ask(workspace, WHAT_DONE) == []
