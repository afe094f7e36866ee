"""Facts about the telemetry that Application Insights receives, without a key."""

import asyncio
from dataclasses import dataclass

import pytest
from aiohttp import ClientSession

from local.application_insights import AUDIENCE, ApplicationInsights
from local.azure import LocalAzure, Ports, local_azure
from local.entra import STORAGE_AUDIENCE, Issuer
from local.servers import listen, serving
from local.telemetry import app_with_telemetry, report, run_operations
from local.workspace import Workspace
from tests.support.leaks import leaks
from tests.support.stack import DEFAULTS

FREE = Ports(0, 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Watched:
    """The telemetry of a few operations, and the app's log."""

    azure: LocalAzure
    insights: ApplicationInsights
    identity_id: str
    log: str


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """An identity is created with a token, gets another token, is deleted and purged."""
    workspace = Workspace(tmp_path_factory.mktemp("telemetry"))
    log = workspace.folder / "app.log"

    async def watch() -> Watched:
        async with (
            local_azure(workspace, FREE, DEFAULTS) as azure,
            app_with_telemetry(azure, 0, log) as app,
        ):
            identity_id = await run_operations(app.url, azure)
            return Watched(azure, azure.insights, identity_id, log.read_text())

    with workspace.locked():
        return asyncio.run(watch())


def trace(watched: Watched, function: str) -> dict[str, str]:
    """The trace of an invocation: each span's name, and its parent's name."""
    traces = watched.insights.traces().values()
    [spans] = [spans for spans in traces if function in {span.name for span in spans}]
    names, identity_id = {span.id: span.name for span in spans}, watched.identity_id
    return {
        span.name.replace(identity_id.replace(":", "%3A"), "{id}"): names.get(span.parent, "-")
        for span in spans
    }


def test_an_operation_is_one_trace(watched: Watched) -> None:
    """The invocation is the parent of its calls to ACS and to the table."""
    assert trace(watched, "issue_token") == {
        "issue_token": "-",
        "CommunicationIdentityClient.get_token": "issue_token",
        "POST /identities/{id}/:issueAccessToken": "CommunicationIdentityClient.get_token",
        "TableClient.get_entity": "issue_token",
    }


def test_a_sweep_is_one_trace(watched: Watched) -> None:
    """The timer's invocation is the parent of all calls, from any task."""
    found = trace(watched, "purge_deleted_identities")

    assert found["CommunicationIdentityClient.delete_user"] == "purge_deleted_identities"
    assert found["TableClient.submit_transaction"] == "purge_deleted_identities"


def test_metrics_arrive(watched: Watched) -> None:
    """They count operations, the time in ACS, throttles and the results of the sweep."""
    metrics = watched.insights.metrics()
    outcome = "{code=ok, operation=issue_token, status=200}"

    assert metrics[f"operations{outcome}"] == 1
    assert metrics[f"operation.duration{outcome}"] >= metrics[f"acs.duration{outcome}"] > 0
    assert metrics["acs.throttles{operation=issue_token}"] == 0
    assert [metrics[f"sweep.{name}{{}}"] for name in ("backlog", "stuck", "purged")] == [0, 0, 1]
    assert metrics["sweep.oldest_overdue{}"] >= 0


def test_log_lines_arrive(watched: Watched) -> None:
    """They arrive as the app logs them. Every request of the exporter has a valid token."""
    lines = watched.insights.messages()

    assert watched.insights.rejected == 0
    assert [line for line in lines if line.startswith("operation_finished operation=issue_token ")]
    assert [line for line in lines if line.startswith("sweep_finished due=1 ")]


def test_telemetry_has_no_secrets(watched: Watched) -> None:
    """No attribute has a key, a token, a user id or a hash of one."""
    keys = watched.azure.keys
    secrets = ["alice", keys.function_key, keys.master_key, keys.identity_header]

    assert leaks(watched.insights.text, secrets) == []
    assert leaks(watched.log, secrets) == []


def test_the_report_shows_trees(watched: Watched) -> None:
    """Each trace is a tree of calls."""
    lines = [line[:60].rstrip() for line in report(watched.insights).splitlines()]
    start = lines.index("issue_token")

    assert lines[start : start + 4] == [
        "issue_token",
        "├─ CommunicationIdentityClient.get_token",
        "│  └─ POST /identities/{id}/:issueAccessToken",
        "└─ TableClient.get_entity",
    ]


async def test_requests_without_a_valid_token_are_rejected() -> None:
    """The token is missing or for another service. The exporter checks the number of items."""
    issuer = Issuer()
    insights = ApplicationInsights(issuer)
    items = [{"data": {"baseType": "x", "baseData": {}}}]
    right, wrong = (
        {"Authorization": f"Bearer {issuer.sign(audience, 60)}"}
        for audience in (AUDIENCE, STORAGE_AUDIENCE)
    )

    async with serving(insights.application(), listen(0, "-")) as served, ClientSession() as client:
        address = f"http://127.0.0.1:{served.port}/v2.1/track"
        anonymous = await client.post(address, json=items)
        foreign = await client.post(address, json=items, headers=wrong)
        accepted = await client.post(address, json=items, headers=right)

        assert (anonymous.status, foreign.status, insights.rejected) == (401, 401, 2)
        assert await accepted.json() == {"itemsReceived": 1, "itemsAccepted": 1, "errors": []}
