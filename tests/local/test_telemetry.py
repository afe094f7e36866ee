"""With OpenTelemetry on, Application Insights gets whole traces, metrics and lines, keylessly."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import jwt
import pytest

from local.application_insights import AUDIENCE, ApplicationInsights
from local.azure import LocalAzure, Ports, local_azure
from local.entra import STORAGE_AUDIENCE, Issuer
from local.servers import listen, serving
from local.telemetry import a_short_life, shown, watched_app
from local.workplace import Workplace
from tests.support.leaks import leaks

FREE = Ports(0, 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Watched:
    """What came of an identity's short life.

    Attributes:
        log: The app's own.
    """

    azure: LocalAzure
    insights: ApplicationInsights
    identity_id: str
    log: str


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """An identity was created with a token, got another, was deleted and swept away."""
    workplace = Workplace(tmp_path_factory.mktemp("telemetry"))
    log = workplace.folder / "app.log"

    async def live() -> Watched:
        async with local_azure(workplace, FREE) as azure, watched_app(azure, 0, log) as app:
            identity_id = await a_short_life(app.url, azure)
            return Watched(azure, azure.insights, identity_id, log.read_text())

    with workplace.held():
        return asyncio.run(live())


def trace(watched: Watched, function: str) -> dict[str, str]:
    """The one trace of an invocation: each span's name, and whose part it is."""
    [spans] = [
        spans
        for spans in watched.insights.traces().values()
        if function in {span.name for span in spans}
    ]
    names = {span.id: span.name for span in spans}
    return {
        span.name.replace(watched.identity_id.replace(":", "%3A"), "{id}"): names.get(
            span.parent, "-"
        )
        for span in spans
    }


def test_one_trace(watched: Watched) -> None:
    """The trigger, its call to ACS and its calls to the table are one tree."""
    assert trace(watched, "issue_token") == {
        "issue_token": "-",
        "CommunicationIdentityClient.get_token": "issue_token",
        "POST /identities/{id}/:issueAccessToken": "CommunicationIdentityClient.get_token",
        "TableClient.get_entity": "issue_token",
    }


def test_trace_of_a_sweep(watched: Watched) -> None:
    """The timer's work is one tree too, in whichever task it was done."""
    found = trace(watched, "purge_deleted_identities")

    assert found["CommunicationIdentityClient.delete_user"] == "purge_deleted_identities"
    assert found["TableClient.delete_entity"] == "purge_deleted_identities"


def test_metrics(watched: Watched) -> None:
    """Operations by outcome, the time in ACS, throttles, and what the sweep left."""
    metrics = watched.insights.metrics()
    outcome = "{code=ok, operation=issue_token, status=200}"

    assert metrics[f"operations{outcome}"] == 1
    assert metrics[f"operation.duration{outcome}"] >= metrics[f"acs.duration{outcome}"] > 0
    assert metrics["acs.throttles{operation=issue_token}"] == 0
    assert [metrics[f"sweep.{name}{{}}"] for name in ("backlog", "stuck", "purged")] == [0, 0, 1]
    assert metrics["sweep.oldest_overdue{}"] >= 0


def test_lines(watched: Watched) -> None:
    """What the app logs arrives as it is."""
    lines = watched.insights.messages()

    assert [line for line in lines if line.startswith("operation_finished operation=issue_token ")]
    assert [line for line in lines if line.startswith("sweep_finished due=1 ")]


def test_no_secret(watched: Watched) -> None:
    """No key, token, user id or hash of one, in whichever attribute of whichever span."""
    keys = watched.azure.keys
    secrets = ["alice", keys.function_key, keys.master_key, keys.identity_header]

    assert leaks(watched.insights.text, secrets) == []
    assert leaks(watched.log, secrets) == []


def test_keyless(watched: Watched) -> None:
    """Everything came with an Entra token."""
    assert watched.insights.refused == 0


def test_shown(watched: Watched) -> None:
    """A person sees the tree."""
    lines = [line[:60].rstrip() for line in shown(watched.insights).splitlines()]
    start = lines.index("issue_token")

    assert lines[start : start + 4] == [
        "issue_token",
        "├─ CommunicationIdentityClient.get_token",
        "│  └─ POST /identities/{id}/:issueAccessToken",
        "└─ TableClient.get_entity",
    ]


@pytest.fixture
async def endpoint() -> AsyncIterator[tuple[ApplicationInsights, Issuer, str]]:
    """An ingestion endpoint, who signs its callers' tokens, and its address."""
    issuer = Issuer()
    insights = ApplicationInsights(issuer)
    async with serving(insights.application(), listen(0, "-")) as served:
        yield insights, issuer, f"http://127.0.0.1:{served.port}/v2.1/track"


@pytest.mark.parametrize("audience", ["", STORAGE_AUDIENCE])
async def test_stranger_is_refused(
    endpoint: tuple[ApplicationInsights, Issuer, str], audience: str
) -> None:
    """No token, or one for something else."""
    insights, issuer, address = endpoint
    headers = {"Authorization": f"Bearer {issuer.sign(audience, 60)}"} if audience else {}

    async with aiohttp.ClientSession() as session:
        refused = await session.post(address, json=[], headers=headers)

    assert (refused.status, insights.refused) == (401, 1)


async def test_who_may_write_is_heard(endpoint: tuple[ApplicationInsights, Issuer, str]) -> None:
    """The number of items is confirmed, which the exporter counts on."""
    _, issuer, address = endpoint
    token = issuer.sign(AUDIENCE, 60)
    assert jwt.decode(token, options={"verify_signature": False})["aud"] == AUDIENCE

    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        answer = await session.post(address, json=[{"data": {"baseType": "x", "baseData": {}}}])

    assert await answer.json() == {"itemsReceived": 1, "itemsAccepted": 1, "errors": []}
