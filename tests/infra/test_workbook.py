"""The workbook: its parts, and what their queries return on lines that the app logs."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest

from identity_service.log import EventLog
from tests.infra.bicep import INFRA
from tests.infra.test_alerts import PANELS
from tests.infra.workspace import Workspace, calls, finishes
from tests.support.world import ACS_IS_DOWN, RETENTION, World

SOURCE = (INFRA / "workbook.bicep").read_text()
PARTS = json.loads((INFRA / "workbook.json").read_text())
MINUTE = timedelta(minutes=1)
SERVICE = "service:11111111-2222-3333-4444-555555555555"

events = EventLog("identity_service.sweep")


def ask(workspace: Workspace, name: str, identity_id: str = "") -> list[tuple[Any, ...]]:
    """The rows of a part, without their times."""
    rows = workspace.query(PANELS[f"workbook/{name}"].replace("{IdentityId}", identity_id))
    return [
        tuple(value for key, value in row.items() if key not in {"TimeGenerated", "invocation_id"})
        for row in rows
    ]


def test_every_query_is_a_part() -> None:
    """Each query of the folder is loaded, and shown in one part."""
    names = [name.removeprefix("workbook/") for name in PANELS]
    loaded = re.findall(
        r"^  (\w+): loadTextContent\('queries/workbook/(\w+)\.kql'\)", SOURCE, re.MULTILINE
    )

    assert sorted(part["query"] for part in PARTS) == names
    assert sorted(loaded) == [(name, name) for name in names]


def test_every_parameter_exists() -> None:
    """The parts use the parameters that the workbook asks for."""
    asked = set(re.findall(r"name: '(\w+)'\n        label:", SOURCE))
    used = set(re.findall(r"\{(\w+)\}", "".join(PANELS.values())))

    assert used | {"TimeRange"} == asked
    assert "timeContextFromParameter: 'TimeRange'" in SOURCE


async def test_calls(workspace: Workspace) -> None:
    """Each result has its number of calls and its duration."""
    for duration in range(1, 101):
        finishes("key", "issue_token", duration_ms=duration)
    finishes("key", "issue_token", 404, "identity_gone", duration_ms=7)

    assert ask(workspace, "calls") == [
        ("issue_token", 200, "ok", 100, 50, 95),
        ("issue_token", 404, "identity_gone", 1, 7, 7),
    ]


async def test_tokens_by_caller(workspace: Workspace) -> None:
    """Each caller has its number of tokens. Refusals and other calls give none."""
    finishes("key", "issue_token")
    finishes("key", "create_identity_with_token", 201)
    finishes("user", "issue_my_token")
    finishes(SERVICE, "exchange_teams_token")
    finishes("key", "issue_token", 404, "identity_gone")
    finishes("key", "get_identity")

    assert set(ask(workspace, "tokens")) == {("key", 2), ("user", 1), (SERVICE, 1)}


async def test_tokens_over_time(world: World, workspace: Workspace) -> None:
    """Quarters of an hour are counted for themselves."""
    finishes("key", "issue_token")
    world.clock.advance(14 * MINUTE)
    finishes("key", "issue_token")
    world.clock.advance(MINUTE)
    finishes("key", "issue_token")

    assert ask(workspace, "tokens") == [("key", 2), ("key", 1)]


async def test_sweep(world: World, workspace: Workspace) -> None:
    """Each sweep has its backlog, what it purged, and how late it was."""
    for _ in range(2):
        await world.deleted()
    world.clock.advance(RETENTION + MINUTE)
    world.acs.fails("delete", ACS_IS_DOWN)
    calls("sweep")
    await world.sweep()

    assert ask(workspace, "backlog") == [(1, None, 1, 1)]
    assert ask(workspace, "overdue") == [(60,)]


async def test_held(workspace: Workspace) -> None:
    """Purges on hold have their own figure."""
    events.info("sweep_finished", purged=0, deferred=0, held=7, backlog=0)

    assert ask(workspace, "backlog") == [(0, 7, 0, 0)]


async def test_stuck(world: World, workspace: Workspace) -> None:
    """Each stuck identity, and each stuck access, is listed once, with its last attempt."""

    def identity(number: int, state: str, attempts: int, code: str) -> None:
        kept: dict[str, Any] = {"state": state, "attempts": attempts, "code": code}
        events.error("identity_stuck", identity_id=f"8:acs:1_{number}", **kept)

    identity(2, "deleted", 12, "acs_too_slow")
    world.clock.advance(MINUTE)
    identity(2, "purging", 11, "acs_unavailable")
    identity(3, "suspended", 10, "acs_too_slow")
    access: dict[str, Any] = {"state": "removing", "attempts": 9, "code": "throttled"}
    events.error("teams_access_stuck", tenant_id="1", object_id="2", **access)

    assert set(ask(workspace, "stuck")) == {
        ("8:acs:1_2", "purging", 11, "acs_unavailable"),
        ("8:acs:1_3", "suspended", 10, "acs_too_slow"),
        ("1/2", "removing", 9, "throttled"),
    }


async def test_throttling(workspace: Workspace) -> None:
    """The sweep and each operation have their number of 429 from ACS."""
    finishes("key", "issue_token", 429, "throttled", throttles=2)
    finishes("key", "issue_token", throttles=1)
    finishes("key", "create_identity", throttles=0)
    events.info("sweep_finished", throttles=5)
    events.error("sweep_failed", throttles=4)

    assert set(ask(workspace, "throttling")) == {("issue_token", 3), ("the sweep", 9)}


async def test_latency(workspace: Workspace) -> None:
    """ACS and the table have their own figures, without the calls that did not use them."""
    for milliseconds in range(1, 101):
        finishes("key", "issue_token", acs_ms=milliseconds, table_ms=10 * milliseconds)
        finishes("key", "get_identity", acs_ms=0, table_ms=0)

    assert ask(workspace, "latency") == [(50, 95, 500, 950)]


@pytest.mark.parametrize("chosen", ["an id", "nothing yet"])
async def test_one_identity(world: World, workspace: Workspace, chosen: str) -> None:
    """All lines about the identity are listed, the last one first, and none of others."""
    identity_id = await world.active()
    world.clock.advance(MINUTE)
    calls(SERVICE)
    await world.suspend(identity_id)
    finishes("user", "issue_my_token", 401, "not_signed_in")
    events.info("sweep_finished", purged=0)
    world.clock.advance(MINUTE)
    finishes("user", "issue_my_token", 409, "identity_suspended", identity_id)

    found = ask(workspace, "identity", identity_id if chosen == "an id" else "")

    assert [row[0] for row in found if row[0] != "identity_revoked"] == (
        ["operation_finished", "identity_suspended", "identity_activated"]
        if chosen == "an id"
        else []
    )
