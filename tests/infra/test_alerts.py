"""Every alert has a valid query, an explanation, and log events that exist."""

import json
import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from identity_service.policies import Role
from tests.infra.bicep import INFRA, read
from tests.infra.evaluate import deploy
from tests.test_who_may_call import App
from tools.openapi.document import routes

ROOT = INFRA.parent
ANALYSER = Path(__file__).parent / "analyse_queries.mjs"
QUERIES = {path.stem: path.read_text() for path in sorted((INFRA / "queries").glob("*.kql"))}
PANELS = {
    f"workbook/{path.stem}": path.read_text()
    for path in sorted((INFRA / "queries" / "workbook").glob("*.kql"))
}
SOURCE = (INFRA / "alerts.bicep").read_text()
VALUES = read(SOURCE.encode()).values
OPERATE = (ROOT / "docs" / "operate.md").read_text()
_PAGES = OPERATE + (ROOT / "docs" / "retirement.md").read_text()
# The queries in the pages, by heading and position.
DOCUMENTED = {
    f"{heading}-{number}": query
    for heading, text in re.findall(r"^##+ (.+)\n((?:(?!^#).*\n)*)", _PAGES, re.MULTILINE)
    for number, query in enumerate(re.findall(r"```kusto\n(.*?)```", text, re.DOTALL))
}

EVERY_QUERY = {**QUERIES, **PANELS, **DOCUMENTED}

# The keys of each log event. tests/test_docs.py compares this table with the code.
EVENTS = {
    event: re.findall(r"`(\w+)`", keys)
    for event, keys in re.findall(r"^\| `(\w+)` \| (.*?) \|", OPERATE, re.MULTILINE)
}
# The keys of every line.
COMMON = {"caller", "invocation_id"}


# With every optional alert.
DEPLOYED = deploy(storageAccounts="two")
# The alerts on lines: the properties of each rule.
RULES = {
    rule.name: rule.properties for rule in DEPLOYED.all("Microsoft.Insights/scheduledQueryRules")
}
# The alerts on metrics, which do not need the workspace.
METRICS = {rule.name: rule.properties for rule in DEPLOYED.all("Microsoft.Insights/metricAlerts")}
each_rule = pytest.mark.parametrize("name", RULES)


def condition(name: str) -> dict[str, Any]:
    """The query of an alert, and what it compares."""
    [found] = RULES[name]["criteria"]["allOf"]
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def analysed() -> dict[str, Any]:
    """The result of Microsoft's analyser for each query."""
    queries = {**EVERY_QUERY, "wrong": "AppTraces | where Mesage == 1"}
    run = subprocess.run(  # noqa: S603 -- our own script
        ["node", str(ANALYSER)],  # noqa: S607 -- Node from the PATH
        input=json.dumps(queries),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def test_every_query_is_an_alert() -> None:
    """Every query file has an alert, and every alert has a query file."""
    assert {name: condition(name)["query"] for name in RULES} == QUERIES


@pytest.mark.parametrize("name", EVERY_QUERY)
def test_query_is_valid(name: str, analysed: dict[str, Any]) -> None:
    """A query parses, and every table, column and function in it exists."""
    assert analysed[name]["errors"] == []


def test_invalid_query_is_found(analysed: dict[str, Any]) -> None:
    """The analyser reports an unknown column."""
    assert analysed["wrong"]["errors"]


@each_rule
def test_query_returns_the_compared_column(name: str, analysed: dict[str, Any]) -> None:
    """A query returns one numeric column, the one that the alert compares."""
    [(column, kind)] = analysed[name]["columns"].items()

    assert column == condition(name)["metricMeasureColumn"]
    assert kind in {"long", "int", "real"}


@pytest.mark.parametrize(
    ("name", "description"),
    [(name, rule["description"]) for name, rule in {**RULES, **METRICS}.items()],
)
def test_alert_is_explained(name: str, description: str) -> None:
    """It links to a part of docs/operate.md that names it, has a query, and says what to do."""
    page, _, heading = description.partition("#")
    [text] = re.findall(rf"^### {heading}\n((?:(?!^#).*\n)*)", OPERATE, re.MULTILINE)

    assert page == "docs/operate.md"
    assert name == heading or f"`{name}`" in text
    assert "```kusto" in text
    assert "**Do:**" in text


@pytest.mark.parametrize("name", EVERY_QUERY)
def test_query_uses_existing_events(name: str) -> None:
    """Every event in a query exists, and one of the events has each key.

    A query that names no event reads all of them.
    """
    query = EVERY_QUERY[name]
    events = re.findall(r'"(\w+) "', query)
    keys = re.findall(r"(\w+): \w+", "".join(re.findall(r"parse-kv Pairs as \((.*?)\)", query)))

    assert set(events) <= set(EVENTS)
    assert set(keys) <= COMMON | {key for event in events or EVENTS for key in EVENTS[event]}


def test_what_the_role_allows_on_the_acs_resource_is_watched() -> None:
    """Reading and renewing its keys, changing and deleting it each have an explained alert."""
    name = "Microsoft.Communication/CommunicationServices/${alert.operation}"
    watched = dict(re.findall(r"\{ name: '([\w-]+)', operation: '([\w/]+)' \}", SOURCE))
    [text] = re.findall(
        r"^### The ACS resource was changed\n((?:(?!^#).*\n)*)", OPERATE, re.MULTILINE
    )

    assert set(watched.values()) == {"ListKeys/action", "RegenerateKey/action", "Write", "Delete"}
    assert f"'{name}'" in SOURCE
    assert "'${explanations}the-acs-resource-was-changed'" in SOURCE
    assert [alert for alert in watched if f"`{alert}`" not in text] == []
    assert "**Do:**" in text


def test_the_acs_resource_is_watched_wherever_it_is() -> None:
    """A new one and an existing one have the alerts."""
    main = (INFRA / "main.bicep").read_text()

    assert "communicationId: isNew ? communication!.outputs.id : communicationResourceId\n" in main
    assert ("properties.scopes", "[communicationId]") in VALUES


def test_tokens_of_every_operation_count() -> None:
    """The alert counts the tokens of all operations that give services one."""
    [names] = re.findall(r"operation in \((.+?)\)", QUERIES["tokens-unusual"])

    assert set(re.findall(r"\w+", names)) == {
        route.name for route in routes() if Role.ISSUE in route.roles
    }


@pytest.mark.parametrize("storage_accounts", ["one", "prepared", "two"])
def test_metric_alerts_do_not_need_the_workspace(storage_accounts: str) -> None:
    """They read what the availability test and each used account measure, so no flood mutes one."""
    deployment = deploy(storageAccounts=storage_accounts)
    registry = deployment.settings["REGISTRY_STORAGE__tableServiceUri"]
    watched = {"storage-unavailable": [registry.removeprefix("https://").partition(".")[0]]}
    if storage_accounts == "two":
        watched["host-storage-unavailable"] = [
            deployment.settings["AzureWebJobsStorage__accountName"]
        ]
    insights = deployment.one("Microsoft.Insights/components").name

    assert {
        rule.name: [scope.rpartition("/")[2] for scope in rule.properties["scopes"]]
        for rule in deployment.all("Microsoft.Insights/metricAlerts")
    } == {"app-unavailable": ["health", insights], **watched}


def test_no_alert_uses_what_anyone_can_cause() -> None:
    """No alert reads the metrics of the host, where a cut-off body is a failed invocation."""
    assert re.findall(r"metricName: '(\w+)'", SOURCE) == ["Availability"]
    assert "Microsoft.Web" not in SOURCE


async def test_availability_of_the_app() -> None:
    """The app passes the availability test."""
    [health] = [route for route in routes() if route.name == "health"]
    response = await App({}).call(health, {}, b"")

    assert passes(response.status_code, response.get_body().decode())


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, ""),
        (200, "<html>Your Azure Function App is up and running.</html>"),
        (503, ""),
        (503, '{"status":"not_configured"}'),
    ],
    ids=["no functions", "the platform's page", "no instance", "invalid settings"],
)
def test_availability_without_a_working_app(status: int, body: str) -> None:
    """What the platform responds without the app's functions fails, and so do invalid settings."""
    assert not passes(status, body)


def passes(status: int, body: str) -> bool:
    """Whether the availability test accepts a response."""
    rules = "properties.ValidationRules"
    values = dict(VALUES)
    assert values["properties.Request.RequestUrl"] == "'${url}/api/health'"
    text = values[f"{rules}.ContentValidation.ContentMatch"].strip("'")
    return status == int(values[f"{rules}.ExpectedHttpStatusCode"]) and text in body


def test_one_place_is_no_outage() -> None:
    """Most of the places must fail, and each of them tests within the window."""
    values = dict(VALUES)
    [places] = re.findall(r"^var locations = \[(.+)\]", SOURCE, re.MULTILINE)
    window = msgspec.convert(values["properties.windowSize"].strip("'"), timedelta)

    assert len(places.split(",")) / 2 < int(values["properties.criteria.failedLocationCount"])
    assert timedelta(seconds=int(values["properties.Frequency"])) <= window
    assert values["properties.RetryEnabled"] == "true"


@each_rule
def test_alert_windows_leave_no_gap(name: str) -> None:
    """An alert is evaluated at least as often as its window is long."""
    every, window = RULES[name]["evaluationFrequency"], RULES[name]["windowSize"]

    assert msgspec.convert(every, timedelta) <= msgspec.convert(window, timedelta)
