"""Every alert has a query that can run, an explanation, and lines in the log that it counts."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.infra.bicep import INFRA, read

ROOT = INFRA.parent
ANALYSER = Path(__file__).parent / "analyse_queries.mjs"
QUERIES = {path.stem: path.read_text() for path in sorted((INFRA / "queries").glob("*.kql"))}
OPERATE = (ROOT / "docs" / "operate.md").read_text()
# By the heading above it and its number there: a page's queries, which operators paste.
DOCUMENTED = {
    f"{heading}-{number}": query
    for heading, text in re.findall(r"^##+ (.+)\n((?:(?!^#).*\n)*)", OPERATE, re.MULTILINE)
    for number, query in enumerate(re.findall(r"```kusto\n(.*?)```", text, re.DOTALL))
}


def rules() -> list[dict[str, str]]:
    """The alerts, as the template has them."""
    found: list[dict[str, str]] = []
    for path, value in read((INFRA / "alerts.bicep").read_bytes()).values:
        if path == "name" and value.startswith("'"):
            found.append({})
        if found and path in {"name", "query", "column", "window", "every"}:
            found[-1].setdefault(path, value.strip("'"))
    return [rule for rule in found if "query" in rule]


RULES = {rule["name"]: rule for rule in rules()}
each_rule = pytest.mark.parametrize("name", RULES)


@pytest.fixture(scope="module")
def analysed() -> dict[str, Any]:
    """What Microsoft's analyser says of each query."""
    queries = {**QUERIES, **DOCUMENTED, "wrong": "AppTraces | where Mesage == 1"}
    run = subprocess.run(  # noqa: S603 -- our own script
        ["node", str(ANALYSER)],  # noqa: S607 -- wherever it is installed
        input=json.dumps(queries),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def test_every_query_is_an_alert() -> None:
    """No file without a rule, no rule without a file."""
    assert set(RULES) == set(QUERIES)
    assert [rule["query"] for rule in RULES.values()] == [
        f"loadTextContent('queries/{name}.kql')" for name in RULES
    ]


@pytest.mark.parametrize("name", [*QUERIES, *DOCUMENTED])
def test_query_is_right(name: str, analysed: dict[str, Any]) -> None:
    """It parses, and every table, column and function in it exists."""
    assert analysed[name]["faults"] == []


def test_a_wrong_query_is_found(analysed: dict[str, Any]) -> None:
    """Or the test above would show nothing."""
    assert analysed["wrong"]["faults"]


@each_rule
def test_query_gives_the_figure_that_is_compared(name: str, analysed: dict[str, Any]) -> None:
    """One column, a number."""
    assert list(analysed[name]["columns"]) == [RULES[name]["column"]]
    assert analysed[name]["columns"][RULES[name]["column"]] in {"long", "int", "real"}


@each_rule
def test_alert_is_explained(name: str) -> None:
    """docs/operate.md says what it means, how to look, and what to do."""
    [text] = re.findall(rf"^### {name}\n((?:(?!^#).*\n)*)", OPERATE, re.MULTILINE)

    assert "```kusto" in text
    assert "**Do:**" in text


@pytest.mark.parametrize("query", [*QUERIES.values(), *DOCUMENTED.values()])
def test_query_asks_for_events_that_there_are(query: str) -> None:
    """And for keys that their lines have."""
    source = "\n".join(path.read_text() for path in (ROOT / "identity_service").rglob("*.py"))
    events = set(re.findall(r'"(\w+) "', query))
    keys = set(
        re.findall(r"(\w+): \w+", "".join(re.findall(r"parse-kv Pairs as \((.*?)\)", query)))
    )

    assert [event for event in events if f'"{event}"' not in source] == []
    assert [key for key in keys if f"{key}=" not in source and f'"{key}"' not in source] == []


@each_rule
def test_alert_looks_at_least_as_often_as_it_looks_back(name: str) -> None:
    """Nothing happens between two looks."""
    rule = RULES[name]
    window = "PT15M" if rule["window"] == "sweepMissingAfter" else rule["window"]

    assert minutes(rule["every"]) <= minutes(window)


def minutes(duration: str) -> int:
    """Of an ISO 8601 duration with one unit."""
    [(time, number, unit)] = re.findall(r"P(T?)(\d+)([MHD])", duration)
    return int(number) * {"M": 1, "H": 60, "D": 1440}[unit] * (1 if time or unit == "D" else 0)
