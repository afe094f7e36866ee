"""Which alerts fire in which situation, and in which none does.

Every situation is played for some time, with the lines that the app logs in it. All alerts are
evaluated every five minutes, with the windows and thresholds of the template.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec
import pytest

from identity_service.errors import RegistryUnavailable
from identity_service.log import EventLog
from identity_service.policies import CleanupPolicy
from tests.infra.test_alerts import RULES, condition
from tests.infra.workspace import UNKNOWN, Query, Workspace, calls, finishes
from tests.support.world import (
    ACS_IS_DOWN,
    OBJECT_ID,
    RETENTION,
    TABLE_IS_DOWN,
    TENANT_ID,
    World,
    refusal,
)
from tests.test_who_may_call import ENTRA, App

STEP = timedelta(minutes=5)
SERVICE = "service:11111111-2222-3333-4444-555555555555"
NOT_CHECKED = {"SERVICE_AUTHENTICATION": "entra", "WEBSITE_AUTH_ENABLED": "False"}

events = EventLog("identity_service.sweep")


class Alert(NamedTuple):
    """An alert as the template defines it. It fires if the column exceeds the threshold."""

    query: Query
    column: str
    threshold: int


def alert(name: str) -> Alert:
    """The alert with this name."""
    compared = condition(name)
    window = msgspec.convert(RULES[name]["windowSize"], timedelta)
    column, threshold = compared["metricMeasureColumn"], compared["threshold"]
    return Alert(Query(compared["query"], window), column, threshold)


ALERTS = {name: alert(name) for name in RULES}


class Stage:
    """An app with its log and its alerts.

    Attributes:
        has_timer: Whether the host runs the sweep.
        fired: The alerts that have fired.
    """

    def __init__(self, world: World, workspace: Workspace) -> None:
        self.world = world
        # So that no sweep has to wait for its rate limit.
        world.cleanup = CleanupPolicy(deletes_per_30s=10**6)
        self.workspace = workspace
        self.has_timer = True
        self.fired: set[str] = set()

    async def minutes(self, minutes: int, meanwhile: Callable[[], object] = bool) -> None:
        """Let time pass. In each step something happens, the sweep runs, alerts are evaluated."""
        for _ in range(minutes // 5):
            self.world.clock.advance(STEP)
            meanwhile()
            if self.has_timer:
                calls("sweep")
                with suppress(RegistryUnavailable):
                    await self.world.sweep()
            self._evaluate()

    def many(self, times: int, *call: Any, **values: Any) -> None:
        """So many calls finish: see `finishes`."""
        finishes(*call, **values)
        self.workspace.repeat(times)

    def _evaluate(self) -> None:
        results = self.workspace.query_all({name: each.query for name, each in ALERTS.items()})
        for name, each in ALERTS.items():
            [row] = results[name]
            value = row[each.column]
            if value is not None and value > each.threshold:
                self.fired.add(name)


@pytest.fixture
def stage(world: World, workspace: Workspace) -> Stage:
    """A healthy app."""
    return Stage(world, workspace)


Situation = Callable[[Stage], Awaitable[None]]


async def anonymous(stage: Stage, environ: dict[str, str]) -> None:
    """Thousands of callers without a key or a sign-in call every operation, in ten minutes."""
    before = len(stage.workspace.lines)
    await App(environ).access({})
    refused = [line for line in stage.workspace.lines[before:] if "caller=- " in line]
    assert refused

    def again() -> None:
        for line in refused:
            stage.workspace.add(line, times=100)

    await stage.minutes(10, again)


# Situations in which alerts fire


async def mass_issuing(stage: Stage) -> None:
    """Someone with a stolen key gets tokens for everyone."""
    await stage.minutes(30, lambda: stage.many(1700, "key", "issue_token"))


async def mass_creating(stage: Stage) -> None:
    """A client creates an identity at every start."""
    for number in range(1001):
        calls("key")
        events.info("identity_created", identity_id=f"8:acs:1_{number}")
    await stage.minutes(5)


async def mass_deleting(stage: Stage) -> None:
    """Someone with a stolen key deletes users."""
    identities = [await stage.world.active() for _ in range(101)]
    for identity_id in identities:
        calls("key")
        await stage.world.delete(identity_id)
    await stage.minutes(5)


async def mass_deleting_while_acs_fails(stage: Stage) -> None:
    """The same, but every call is 503, because its revocation failed."""
    identities = [await stage.world.active() for _ in range(101)]
    stage.world.acs.fails("revoke_tokens", ACS_IS_DOWN, times=101)
    for identity_id in identities:
        calls("key")
        await refusal(stage.world.delete(identity_id))
    await stage.minutes(5)


async def mass_purging(stage: Stage) -> None:
    """A service purges what was deleted long ago."""
    identities = [await stage.world.deleted() for _ in range(101)]
    stage.world.clock.advance(timedelta(hours=2))
    for identity_id in identities:
        calls(SERVICE)
        await stage.world.purge(identity_id)
    await stage.minutes(5)


async def mass_unregistering(stage: Stage) -> None:
    """A service makes the registry forget its identities."""
    identities = [await stage.world.active() for _ in range(101)]
    for identity_id in identities:
        calls(SERVICE)
        await stage.world.unregister(identity_id)
    await stage.minutes(5)


async def probed_ids(stage: Stage) -> None:
    """Someone with a stolen key tries ids, among the calls of others."""

    def probe() -> None:
        stage.many(300, "key", "get_identity", 404, "identity_not_found")
        stage.many(600, "key", "issue_token")
        stage.many(4000, SERVICE, "issue_token")

    await stage.minutes(10, probe)


async def calls_without_a_role(stage: Stage) -> None:
    """An application repeats a call that its roles do not allow."""
    await stage.minutes(10, lambda: stage.many(300, SERVICE, "delete_identity", 403, "not_allowed"))


async def user_in_a_loop(stage: Stage) -> None:
    """A user's client repeats its calls beyond the user's budget."""
    await stage.minutes(
        10, lambda: stage.many(300, "user", "issue_my_token", 429, "too_many_calls")
    )


async def sweep_that_cannot_read(stage: Stage) -> None:
    """Once, the registry does not respond to the sweep."""
    await stage.minutes(5)
    stage.world.registry.fails("due_entries", TABLE_IS_DOWN)
    await stage.minutes(30)


async def registry_unreachable(stage: Stage) -> None:
    """Nobody calls, and the registry does not respond."""
    stage.world.registry.fails("due_entries", TABLE_IS_DOWN, times=10)
    await stage.minutes(20)


async def host_storage_unreachable(stage: Stage) -> None:
    """Nobody calls, and the host cannot start the timer."""
    await stage.minutes(15)
    stage.has_timer = False
    await stage.minutes(15)


async def workspace_full(stage: Stage) -> None:
    """A flood has used up the daily cap: no line arrives any more."""
    await anonymous(stage, ENTRA)
    stage.has_timer = False
    await stage.minutes(15)


async def growing_log(stage: Stage) -> None:
    """A flood fills several tables: more than 80 % of the daily cap in three hours."""

    def lines() -> None:
        for table in ("AppTraces", "AppRequests", "StorageTableLogs"):
            stage.workspace.add("…", times=76, table=table, size=10**6)

    await stage.minutes(180, lines)


async def failures(stage: Stage) -> None:
    """Six of a hundred calls fail."""

    def fail() -> None:
        stage.many(6, "key", "issue_token", 503, "acs_unavailable")
        stage.many(94, "key", "issue_token")

    await stage.minutes(5, fail)


async def failures_in_a_flood(stage: Stage) -> None:
    """The same, and anonymous callers try to hide it."""
    stage.many(6, "key", "issue_token", 503, "acs_unavailable")
    stage.many(94, "key", "issue_token")
    await anonymous(stage, ENTRA)


async def failures_among_refusals(stage: Stage) -> None:
    """The same, and an allowed caller's refusals would hide it."""
    stage.many(6, "key", "issue_token", 503, "acs_unavailable")
    stage.many(94, "key", "issue_token")
    stage.many(450, "user", "issue_my_token", 429, "too_many_calls")
    await stage.minutes(5)


async def invalid_settings_for_users(stage: Stage) -> None:
    """Every user gets 503, before it is known who calls."""
    await stage.minutes(5, lambda: stage.many(20, UNKNOWN, "issue_my_token", 503, "not_configured"))


async def throttles(stage: Stage) -> None:
    """ACS throttles."""
    await stage.minutes(
        5, lambda: stage.many(21, "key", "issue_token", 429, "throttled", throttles=1)
    )


async def role_removed(stage: Stage) -> None:
    """ACS does not accept the app any more."""
    calls("key")
    events.error("acs_refused_us", host="acs", status=401, code="Denied", remedy="a role")
    await stage.minutes(5)


async def stuck_identity(stage: Stage) -> None:
    """The sweep has failed too often."""
    stuck: dict[str, Any] = {"state": "purging", "attempts": 10, "code": "acs_unavailable"}
    events.error("identity_stuck", identity_id="8:acs:1_2", **stuck)
    await stage.minutes(5)


async def stuck_access(stage: Stage) -> None:
    """The sweep has failed too often to remove Teams Phone access."""
    user: dict[str, Any] = {"tenant_id": TENANT_ID, "object_id": OBJECT_ID}
    stuck: dict[str, Any] = {"state": "removing", "attempts": 10, "code": "acs_unavailable"}
    events.error("teams_access_stuck", **user, **stuck)
    await stage.minutes(5)


async def overdue(stage: Stage) -> None:
    """Purges were on hold for two hours, and the hold has ended."""
    await stage.world.deleted()
    stage.world.clock.advance(RETENTION + timedelta(hours=2))
    policy = stage.world.cleanup
    stage.world.cleanup = replace(policy, purge_hold=True)
    await stage.minutes(5)
    stage.world.cleanup = policy
    await stage.minutes(5)


async def lost_identity(stage: Stage) -> None:
    """Neither ACS nor the registry could finish a creation."""
    calls("key")
    stage.world.registry.fails("insert", TABLE_IS_DOWN)
    stage.world.acs.fails("delete", ACS_IS_DOWN)
    await refusal(stage.world.create())
    await stage.minutes(5)


async def missed_runs(stage: Stage) -> None:
    """`ready` finds it before the sweep has been missing for three intervals."""
    events.info("sweep_checked", status="missed", last_started_s=700, last_completed_s=690)
    await stage.minutes(5)


FIRES: dict[Situation, set[str]] = {
    mass_issuing: {"tokens-unusual"},
    mass_creating: {"creations-unusual"},
    mass_deleting: {"deletions-unusual"},
    mass_deleting_while_acs_fails: {"deletions-unusual"},
    mass_purging: {"deletions-unusual"},
    mass_unregistering: {"deletions-unusual"},
    probed_ids: {"refusals"},
    calls_without_a_role: {"refusals"},
    user_in_a_loop: {"refusals"},
    sweep_that_cannot_read: {"sweep-failed"},
    registry_unreachable: {"sweep-failed", "sweep-missing"},
    host_storage_unreachable: {"sweep-missing"},
    workspace_full: {"sweep-missing"},
    growing_log: {"log-volume"},
    failures: {"server-errors"},
    failures_in_a_flood: {"server-errors"},
    failures_among_refusals: {"server-errors"},
    invalid_settings_for_users: {"server-errors"},
    throttles: {"throttled"},
    role_removed: {"credential-refused"},
    stuck_identity: {"deletions-stuck"},
    stuck_access: {"deletions-stuck"},
    overdue: {"deletions-overdue"},
    lost_identity: {"identity-lost"},
    missed_runs: {"sweep-missed"},
}


# Situations in which none fires


async def quiet(stage: Stage) -> None:
    """Nobody calls."""
    await stage.minutes(120)


async def anonymous_401(stage: Stage) -> None:
    """A flood of callers without a sign-in."""
    await anonymous(stage, ENTRA)


async def anonymous_403(stage: Stage) -> None:
    """The same, where nothing checks tokens."""
    await anonymous(stage, NOT_CHECKED)


async def cut_off_bodies(stage: Stage) -> None:
    """Anyone can make the host fail an invocation that the app never sees."""
    failed = "Executed 'Functions.issue_my_token' (Failed, Id=…, Duration=5013ms)"
    await stage.minutes(10, lambda: stage.workspace.add(failed, times=1000))


async def deployment(stage: Stage) -> None:
    """The host restarts: one sweep is killed, and the next one does not start."""
    await stage.minutes(15, lambda: stage.many(50, "key", "issue_token"))
    stage.has_timer = False
    await stage.minutes(10)
    stage.has_timer = True
    await stage.minutes(15, lambda: stage.many(50, "key", "issue_token", duration_ms=4000))


async def large_log(stage: Stage) -> None:
    """The log takes 80 % of its daily cap, and more that is not billed."""
    stage.workspace.add("…", times=8000, size=10**6)
    stage.workspace.add("…", times=8000, table="AppMetrics", size=10**6, is_billable=False)
    await stage.minutes(5)


async def few_failures(stage: Stage) -> None:
    """Five of a hundred calls fail, for a while."""

    def fail() -> None:
        stage.many(5, "key", "issue_token", 503, "acs_unavailable")
        stage.many(95, "key", "issue_token")

    await stage.minutes(20, fail)


async def failures_of_few_calls(stage: Stage) -> None:
    """One of three calls fails."""
    stage.many(1, "key", "issue_token", 503, "acs_unavailable")
    stage.many(2, "key", "issue_token")
    await stage.minutes(5)


async def not_ready(stage: Stage) -> None:
    """A probe finds an upstream that does not respond. It is no call of anyone."""
    await stage.minutes(15, lambda: stage.many(30, "key", "ready", 503, "not_ready"))


async def repeated_deletion(stage: Stage) -> None:
    """A client deletes the same identity again and again."""
    identity_id = await stage.world.active()

    def finished() -> None:
        stage.many(300, "key", "delete_identity", 202, "ok", identity_id)

    for _ in range(300):
        calls("key")
        await stage.world.delete(identity_id)
        await stage.world.restore(identity_id)
    await stage.minutes(5, finished)


async def planned_deletions(stage: Stage) -> None:
    """A few users leave: each is deleted, and purged at once."""
    identities = [await stage.world.active() for _ in range(100)]
    for identity_id in identities:
        calls("key")
        await stage.world.delete(identity_id)
        await stage.world.purge(identity_id)
    await stage.minutes(5)


async def purges_by_the_sweep(stage: Stage) -> None:
    """The sweep purges what was deleted a week ago."""
    for _ in range(150):
        await stage.world.deleted()
    stage.world.clock.advance(RETENTION)
    await stage.minutes(5)


async def monday(stage: Stage) -> None:
    """All users sign in within half an hour."""
    await stage.minutes(30, lambda: stage.many(2000, "user", "issue_my_token"))


async def busy(stage: Stage) -> None:
    """A service calls often, sometimes for identities that are gone."""

    def issue() -> None:
        stage.many(750, "key", "issue_token")
        stage.many(1700, "key", "get_identity")
        stage.many(200, "key", "get_identity", 404, "identity_not_found")

    await stage.minutes(60, issue)


async def throttled_now_and_then(stage: Stage) -> None:
    """ACS throttles a few calls."""
    await stage.minutes(
        5, lambda: stage.many(20, "key", "issue_token", 429, "throttled", throttles=1)
    )


async def heavily_throttled(stage: Stage) -> None:
    """Refusals by ACS are no refusals by the app. Only their own alert fires."""
    await stage.minutes(
        5, lambda: stage.many(12_000, "key", "issue_token", 429, "throttled", throttles=1)
    )
    stage.fired.remove("throttled")


async def ready_in_time(stage: Stage) -> None:
    """`ready` finds nothing wrong with the sweep."""
    for status in ("ok", "waiting"):
        events.info("sweep_checked", status=status, last_started_s=200, last_completed_s=190)
    await stage.minutes(5)


SILENT: list[Situation] = [
    quiet,
    anonymous_401,
    anonymous_403,
    cut_off_bodies,
    deployment,
    large_log,
    few_failures,
    failures_of_few_calls,
    not_ready,
    repeated_deletion,
    planned_deletions,
    purges_by_the_sweep,
    monday,
    busy,
    throttled_now_and_then,
    heavily_throttled,
    ready_in_time,
]


@pytest.mark.parametrize(("play", "expected"), FIRES.items(), ids=[each.__name__ for each in FIRES])
async def test_alert_fires(stage: Stage, play: Situation, expected: set[str]) -> None:
    """The alerts for the situation fire, and no other."""
    await play(stage)

    assert stage.fired == expected


@pytest.mark.parametrize("play", SILENT, ids=[each.__name__ for each in SILENT])
async def test_no_alert_fires(stage: Stage, play: Situation) -> None:
    """What is usual, and what anyone can cause, sets off no alert."""
    await play(stage)

    assert stage.fired == set()


def test_every_alert_has_a_situation() -> None:
    """Each alert fires in one of the situations."""
    assert set().union(*FIRES.values()) == set(ALERTS)
