"""The steps of Teams Phone access, one call at a time. tests/exploration explores their orders."""

import logging
from datetime import timedelta

import pytest

from identity_service.errors import (
    AcsUnavailable,
    AssignmentRefused,
    IdentityBusy,
    IdentityNotReadable,
    RegistryUnavailable,
    TeamsAccessBeingRemoved,
    TeamsAccessChanged,
    TeamsAccessNotFound,
)
from identity_service.identity import LEASE
from identity_service.policies import CleanupPolicy
from identity_service.teams_access import Access, AccessState, Assignment, PrincipalType
from tests.support.virtual_time import START
from tests.support.world import ACS_IS_DOWN, CONFLICT, RETENTION, SECOND, TABLE_IS_DOWN, World

TENANT, OBJECT = PRINCIPAL = "tenant", "object"
ASSIGNMENT = Assignment("user", ("client",))
OTHER = Assignment("user", ("other client",))
DAY = timedelta(days=1)
# The line of the log.
REFUSED = (
    f'teams_access_refused tenant_id={TENANT} object_id={OBJECT} reason="ACS does not accept this."'
)


def row(world: World) -> Access:
    """The only access row."""
    [access] = world.access_registry.rows.values()
    return access


async def assign(world: World, *, expires: timedelta | None = None) -> Access:
    """Give access."""
    expires_on = world.clock.now() + expires if expires else None
    access, _ = await world.teams_access.assign(*PRINCIPAL, ASSIGNMENT, expires_on)
    return access


async def sweep(world: World, after: timedelta = LEASE + SECOND) -> None:
    """Let time pass, and sweep."""
    world.clock.advance(after)
    await world.sweep()


async def test_assigned(world: World) -> None:
    """The row is written before ACS is asked, and stays due until the sweep has looked."""
    access, is_new = await world.teams_access.assign(*PRINCIPAL, ASSIGNMENT, None)

    assert is_new
    assert world.assignments.assignments == {PRINCIPAL: ASSIGNMENT}
    assert world.access_registry.calls == ["read", "insert", "update"]
    assert (access.state, access.due) == (AccessState.ASSIGNED, START + LEASE)


async def test_confirmed(world: World) -> None:
    """After the sweep has seen the assignment, nothing is due."""
    await assign(world)
    await sweep(world)

    assert (row(world).state, row(world).due) == (AccessState.ASSIGNED, None)
    assert world.access_registry.entries == set()


@pytest.mark.parametrize(
    "found",
    [Assignment("user", ("CLIENT",)), Assignment("user", ("client", "Client"))],
    ids=["case", "repetition"],
)
async def test_same_assignment(world: World, found: Assignment) -> None:
    """The order, the case and repetitions of client ids make no difference."""
    await assign(world)
    world.assignments.assignments[PRINCIPAL] = found
    await sweep(world)

    assert world.assignments.calls == ["put", "get"]


@pytest.mark.parametrize(
    ("given", "found"),
    [("resourceAccount", "teamsResourceAccount"), ("teamsResourceAccount", "resourceAccount")],
)
def test_both_names_of_a_resource_account_are_the_same(
    given: PrincipalType, found: PrincipalType
) -> None:
    """Otherwise the sweep would assign it again for ever, if ACS returns the other name."""
    assert Assignment(given, ()).same_as(Assignment(found, ()))
    assert not Assignment("user", ()).same_as(Assignment(found, ()))


@pytest.mark.parametrize("found", [None, OTHER, Assignment("resourceAccount", ("client",))])
async def test_drift(world: World, found: Assignment | None) -> None:
    """If ACS has something else, the sweep assigns again."""
    await assign(world)
    world.assignments.assignments = {PRINCIPAL: found} if found else {}
    await sweep(world)

    assert world.assignments.assignments == {PRINCIPAL: ASSIGNMENT}


async def test_replaced(world: World) -> None:
    """A second assignment replaces the first one, and keeps the date of creation."""
    first = await assign(world)
    world.clock.advance(DAY)
    access, is_new = await world.teams_access.assign(*PRINCIPAL, OTHER, None)

    assert not is_new
    assert world.assignments.assignments == {PRINCIPAL: OTHER}
    assert (access.created_on, access.changed_on) == (first.created_on, START + DAY)


async def test_assigned_again(world: World) -> None:
    """After a removal it is a new access."""
    await assign(world)
    await world.teams_access.remove(*PRINCIPAL)
    world.clock.advance(SECOND)
    access, is_new = await world.teams_access.assign(*PRINCIPAL, ASSIGNMENT, None)

    assert is_new
    assert access.created_on == START + SECOND


async def test_unanswered(world: World) -> None:
    """If ACS does not respond, the sweep assigns."""
    world.assignments.fails("put", ACS_IS_DOWN)
    with pytest.raises(AcsUnavailable):
        await assign(world)
    await sweep(world)

    assert world.assignments.assignments == {PRINCIPAL: ASSIGNMENT}
    assert row(world).state is AccessState.ASSIGNED


async def test_refused(world: World) -> None:
    """If ACS refuses an assignment, everything is as it was: also the row and its due."""
    await assign(world)
    before = row(world).with_etag("")
    world.assignments.refused = {OTHER}
    with pytest.raises(AssignmentRefused):
        await world.teams_access.assign(*PRINCIPAL, OTHER, None)

    assert row(world).with_etag("") == before
    assert world.access_registry.entries == {before.due_entry}


async def test_refused_without_row(world: World) -> None:
    """Access that was given elsewhere stays, and gets no row."""
    world.assignments.assignments = {PRINCIPAL: OTHER}
    world.assignments.refused = {ASSIGNMENT}
    with pytest.raises(AssignmentRefused):
        await assign(world)

    assert world.assignments.assignments == {PRINCIPAL: OTHER}
    assert world.access_registry.rows == {}


async def test_refused_to_the_sweep(world: World) -> None:
    """If ACS refuses to the sweep what was to be assigned, the row takes what ACS has."""
    await assign(world)
    world.assignments.fails("put", ACS_IS_DOWN)
    with pytest.raises(AcsUnavailable):
        await world.teams_access.assign(*PRINCIPAL, OTHER, None)
    world.assignments.refused = {OTHER}
    await sweep(world)

    assert (row(world).state, row(world).assignment) == (AccessState.ASSIGNED, ASSIGNMENT)


async def test_the_log_says_why_acs_refuses(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The reason is that of ACS."""
    caplog.set_level("INFO")
    world.assignments.refused = {ASSIGNMENT}
    with pytest.raises(AssignmentRefused):
        await assign(world)

    assert REFUSED in caplog.text


async def test_the_log_says_why_acs_refuses_to_the_sweep(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The sweep has no caller who would read the reason."""
    caplog.set_level("INFO")
    world.assignments.fails("put", ACS_IS_DOWN)
    with pytest.raises(AcsUnavailable):
        await assign(world)
    world.assignments.refused = {ASSIGNMENT}
    await sweep(world)

    assert REFUSED in caplog.text


async def test_removed(world: World) -> None:
    """The row stays until the sweep has seen that ACS has nothing."""
    await assign(world)
    await world.teams_access.remove(*PRINCIPAL)

    assert world.assignments.assignments == {}
    assert (row(world).state, row(world).due) == (AccessState.REMOVED, START + LEASE)

    await sweep(world)

    assert world.access_registry.rows == {}
    assert world.access_registry.entries == set()


async def test_removed_without_row(world: World) -> None:
    """Access that was given elsewhere is removed as well."""
    world.assignments.assignments = {PRINCIPAL: ASSIGNMENT}
    await world.teams_access.remove(*PRINCIPAL)

    assert world.assignments.assignments == {}
    assert row(world).state is AccessState.REMOVED


async def test_given_again_by_a_late_call(world: World) -> None:
    """What arrives at ACS after the removal is removed by the sweep."""
    await assign(world)
    await world.teams_access.remove(*PRINCIPAL)
    world.assignments.assignments[PRINCIPAL] = ASSIGNMENT
    await sweep(world)

    assert world.assignments.assignments == {}
    assert row(world).state is AccessState.REMOVING

    await sweep(world)

    assert world.access_registry.rows == {}


async def test_expired(world: World) -> None:
    """The sweep removes what has expired, and not earlier."""
    await assign(world, expires=DAY)
    await sweep(world)
    await sweep(world, DAY - LEASE - 2 * SECOND)

    assert world.assignments.assignments == {PRINCIPAL: ASSIGNMENT}

    await sweep(world, SECOND)

    assert world.assignments.assignments == {}


async def test_extended(world: World) -> None:
    """A later date replaces the earlier one."""
    await assign(world, expires=DAY)
    await assign(world)
    await sweep(world, 2 * DAY)

    assert world.assignments.assignments == {PRINCIPAL: ASSIGNMENT}


async def test_imported(world: World) -> None:
    """What ACS has gets a row. Nothing is due, except the end."""
    world.assignments.assignments = {PRINCIPAL: ASSIGNMENT}
    access, is_new = await world.teams_access.take_over(*PRINCIPAL, START + DAY)

    assert is_new
    assert world.assignments.calls == ["get"]
    assert (access.assignment, access.due) == (ASSIGNMENT, START + DAY)


async def test_imported_again(world: World) -> None:
    """A repeated import changes nothing, also without the date."""
    world.assignments.assignments = {PRINCIPAL: ASSIGNMENT}
    first, _ = await world.teams_access.take_over(*PRINCIPAL, START + DAY)
    same, is_new = await world.teams_access.take_over(*PRINCIPAL, START + DAY)
    without_date, _ = await world.teams_access.take_over(*PRINCIPAL, None)

    assert not is_new
    assert same == without_date == first


@pytest.mark.parametrize(
    ("found", "expires_on"), [(OTHER, None), (ASSIGNMENT, START + DAY)], ids=["clients", "date"]
)
async def test_import_contradicts_the_row(
    world: World, found: Assignment, expires_on: None
) -> None:
    """Import never overwrites a row."""
    await assign(world)
    world.assignments.assignments = {PRINCIPAL: found}
    with pytest.raises(TeamsAccessChanged):
        await world.teams_access.take_over(*PRINCIPAL, expires_on)

    assert row(world).assignment == ASSIGNMENT


async def test_import_of_nothing(world: World) -> None:
    """What ACS does not have gets no row."""
    with pytest.raises(TeamsAccessNotFound):
        await world.teams_access.take_over(*PRINCIPAL, None)

    assert world.access_registry.rows == {}


async def test_import_of_what_is_being_removed(world: World) -> None:
    """It would give access back."""
    await assign(world)
    world.assignments.fails("delete", ACS_IS_DOWN)
    with pytest.raises(AcsUnavailable):
        await world.teams_access.remove(*PRINCIPAL)
    with pytest.raises(TeamsAccessBeingRemoved):
        await world.teams_access.take_over(*PRINCIPAL, None)

    assert row(world).state is AccessState.REMOVING


async def test_found(world: World) -> None:
    """Get and verify return the row, and verify also what ACS has."""
    await assign(world)
    world.assignments.assignments = {PRINCIPAL: OTHER}

    assert await world.teams_access.get(*PRINCIPAL) == row(world)
    assert await world.teams_access.verify(*PRINCIPAL) == (row(world), OTHER)


async def test_not_found(world: World) -> None:
    """Neither without a row, nor after a removal, is there an access."""
    with pytest.raises(TeamsAccessNotFound):
        await world.teams_access.get(*PRINCIPAL)
    await assign(world)
    await world.teams_access.remove(*PRINCIPAL)
    with pytest.raises(TeamsAccessNotFound):
        await world.teams_access.verify(*PRINCIPAL)


async def test_not_readable(world: World) -> None:
    """Nothing changes a row that this release cannot read, not even the sweep."""
    await assign(world)
    unknown = Access(tenant_id=TENANT, object_id=OBJECT, state=AccessState.UNKNOWN, etag="newer")
    world.access_registry.rows[PRINCIPAL] = unknown
    for call in (
        assign(world),
        world.teams_access.remove(*PRINCIPAL),
        world.teams_access.get(*PRINCIPAL),
        world.teams_access.take_over(*PRINCIPAL, None),
    ):
        with pytest.raises(IdentityNotReadable):
            await call
    await sweep(world)

    assert row(world) == unknown


async def test_conflicts(world: World) -> None:
    """After a few conflicts it is the caller who must try again."""
    world.access_registry.fails("insert", CONFLICT, times=3)
    await assign(world)
    world.access_registry.fails("update", CONFLICT, times=4)
    with pytest.raises(IdentityBusy):
        await assign(world)


async def test_overtaken_by_a_removal(world: World) -> None:
    """An assignment that a removal has overtaken is undone at ACS before it fails."""

    async def remove() -> None:
        await world.teams_access.remove(*PRINCIPAL)

    world.assignments.precede("put", remove)
    with pytest.raises(TeamsAccessChanged):
        await assign(world)

    assert world.assignments.assignments == {}
    assert row(world).state is AccessState.REMOVED


async def test_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Each change writes one line, and one more when ACS has accepted it."""
    caplog.set_level(logging.INFO, "identity_service.access_lifecycle")
    await assign(world, expires=DAY)
    world.clock.advance(DAY + LEASE)
    await sweep(world)
    await sweep(world)

    about = "tenant_id=tenant object_id=object"
    events = [each for each in caplog.messages if each.startswith("teams_access_")]
    assert events == [
        f"teams_access_assigning {about}",
        f"teams_access_assigned {about}",
        f"teams_access_removed {about} expired=True",
        f"teams_access_forgotten {about}",
    ]


# The sweep


async def unanswered(world: World, number: int) -> None:
    """An access of another user that ACS has not got yet."""
    world.assignments.fails("put", ACS_IS_DOWN)
    with pytest.raises(AcsUnavailable):
        await world.teams_access.assign(TENANT, f"object {number}", ASSIGNMENT, None)


async def stuck(world: World) -> int:
    """How many are stuck after one failure, which the first one has."""
    world.cleanup = CleanupPolicy(max_attempts=1)
    world.clock.advance(LEASE + SECOND)
    world.assignments.fails("get", ACS_IS_DOWN)
    return (await world.sweep()).stuck


async def test_report(world: World) -> None:
    """What is due about Teams Phone access counts like what is due about identities."""
    await assign(world)
    await unanswered(world, 2)
    world.clock.advance(2 * LEASE)
    report = await world.sweep()

    assert (report.due, report.done, report.teams_access) == (2, 2, 2)
    assert report.oldest_overdue == LEASE


async def test_access_ends_before_identities_are_purged(world: World) -> None:
    """A purge can wait. Whose access has ended has it until the sweep comes to it."""
    await world.deleted()
    await assign(world, expires=DAY)
    world.clock.advance(RETENTION + SECOND)
    world.cleanup = CleanupPolicy(deletes_per_30s=1, time_budget=SECOND)  # time for one call
    report = await world.sweep()

    assert world.assignments.assignments == {}
    assert (report.teams_access, report.purged) == (1, 0)


async def test_failures_do_not_postpone_identities(world: World) -> None:
    """If most calls about access fail, a single failure about an identity is still an attempt."""
    await world.unrevoked()
    await world.unrevoked()
    for number in range(3):
        await unanswered(world, number)
    world.clock.advance(LEASE + SECOND)
    world.acs.fails("revoke_tokens", ACS_IS_DOWN)
    world.assignments.fails("get", ACS_IS_DOWN, times=3)
    report = await world.sweep()

    assert [row.attempts for row in world.registry.rows.values()] == [1, 0]
    assert [row.attempts for row in world.access_registry.rows.values()] == [0, 0, 0]
    assert (report.done, report.deferred) == (1, 4)


async def test_failure_is_an_attempt(world: World) -> None:
    """A failure among successes is postponed, and not to an earlier time than its lease."""
    for number in range(3):
        await unanswered(world, number)
    world.clock.advance(LEASE + SECOND)
    world.assignments.fails("put", ACS_IS_DOWN)
    await world.sweep()

    [failed] = [row for row in world.access_registry.rows.values() if row.attempts]
    assert (failed.attempts, failed.last_error) == (1, "acs_unavailable")
    assert failed.due
    assert failed.due >= world.clock.now() + LEASE


async def test_stuck(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """After too many failures it is retried once a day, and the log says so."""
    for number in range(3):
        await unanswered(world, number)

    assert await stuck(world) == 1
    assert "teams_access_stuck tenant_id=tenant object_id=" in caplog.text


async def test_what_is_stuck_ends_on_its_date(world: World) -> None:
    """A failure does not let access outlive its date."""
    await assign(world, expires=timedelta(hours=1))
    for number in range(2):
        await unanswered(world, number)
    assert await stuck(world) == 1

    await sweep(world, timedelta(hours=1))

    assert PRINCIPAL not in world.assignments.assignments


async def test_table_fails(world: World) -> None:
    """If the registry fails for one access, it stays due."""
    await assign(world)
    await unanswered(world, 2)
    world.clock.advance(LEASE + SECOND)
    world.access_registry.fails("update", TABLE_IS_DOWN)
    report = await world.sweep()

    assert (report.done, report.deferred, report.backlog) == (1, 1, 1)
    assert len(world.access_registry.entries) == 2


async def test_unreadable_due_index(world: World) -> None:
    """If what is due cannot be read, the sweep fails after the identities are revoked."""
    await world.unrevoked()
    world.clock.advance(LEASE + SECOND)
    world.access_registry.fails("due", TABLE_IS_DOWN)
    with pytest.raises(RegistryUnavailable):
        await world.sweep()

    assert [row.revoked for row in world.registry.rows.values()] == [True]
