"""docs/problems.md describes every problem, with its status, its title, and when to retry."""

import ast
import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from identity_service.errors import ServiceError
from identity_service.http.responses import problem
from identity_service.schemas import PROBLEMS
from tests.azure.test_acs_errors import REFUSALS, error_body, error_for
from tests.support.acs_transport import Response
from tests.support.errors import service_errors

ROOT = Path(__file__).parent.parent
PAGE = ROOT / PROBLEMS.removeprefix("/")
SECTION = re.compile(r"^## `(\w+)`\n\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
SECTIONS: dict[str, str] = dict(SECTION.findall(PAGE.read_text()))

# A subclass without its own code is documented under its parent's code.
KINDS = [kind for kind in service_errors() if "code" in vars(kind)]


def of_code(code: str) -> list[type[ServiceError]]:
    """The errors with this code."""
    return [kind for kind in KINDS if kind.code == code]


def test_example() -> None:
    """The example on the page has the type, title and status of its code."""
    [text] = re.findall(r"(?m)^ {4}\{\n(?: {4}.*\n)+", PAGE.read_text())
    example = json.loads(text)

    [kind] = of_code(example["code"])
    assert example["type"] == f"{PROBLEMS}#{kind.code}"
    assert (example["title"], example["status"]) == (kind.title, kind.status)


def test_codes() -> None:
    """The page explains exactly the codes that exist."""
    codes = {kind.code for kind in KINDS}

    assert set(SECTIONS) == codes


@pytest.mark.parametrize("code", SECTIONS)
def test_heading(code: str) -> None:
    """A section starts with the statuses and the title of its code."""
    kinds = of_code(code)
    statuses = ", ".join(dict.fromkeys(str(kind.status) for kind in kinds))

    assert SECTIONS[code].startswith(f"*{statuses} · {kinds[0].title}*\n")


@pytest.mark.parametrize("code", SECTIONS)
def test_section_is_complete(code: str) -> None:
    """A section has the cause, the remedy, and when to retry."""
    parts = re.findall(r"^\*\*(\w+)\.\*\* \S", SECTIONS[code], re.MULTILINE)

    assert parts == ["Cause", "Remedy", "Retry"]


@pytest.mark.parametrize("kind", KINDS)
def test_type_links_to_the_section(kind: type[ServiceError]) -> None:
    """A problem's `type` is the URL of its section on the page."""
    body = problem(kind("What is wrong.")).get_body().decode()
    link = re.search(r'"type":"/docs/problems\.md#(\w+)"', body)

    assert link
    assert link[1] in SECTIONS


# The rule. Each section begins with what follows from it for the code.
RETRIED = {500, 502, 503, 504}
BACKOFF = "[backoff](#when-to-retry)"
RETRY = {
    frozenset({True}): "After `Retry-After`",
    frozenset({True, False}): f"After `Retry-After` if present, otherwise with {BACKOFF}",
    frozenset({False}): f"With {BACKOFF}",
}


@pytest.fixture(scope="module")
def sent() -> dict[str, frozenset[bool]]:
    """Whether problems of each code have Retry-After: always, sometimes, or never."""
    found = {kind.code: {*_where_created(kind)} for kind in service_errors()}
    for error in asyncio.run(_for_responses_of_acs()):
        found[error.code].add(error.retry_after is not None)
    return {code: frozenset(each or {False}) for code, each in found.items()}


async def _for_responses_of_acs() -> list[ServiceError]:
    """The errors for every kind of response of ACS, without and with Retry-After."""
    return [
        await error_for(Response(status, error_body(code), headers))
        for status, code, _ in REFUSALS
        for headers in ({}, {"Retry-After": "7"})
    ]


def _where_created(kind: type[ServiceError]) -> list[bool]:
    """Whether each place in the code that creates this error says when to retry.

    `acs_errors.py` is left out: it passes on what ACS sends.
    """
    kinds = [each for each in service_errors() if each.code == kind.code]
    names = {each.__name__ for each in kinds}
    files = (ROOT / "identity_service").rglob("*.py")
    trees = [ast.parse(file.read_text("utf-8")) for file in files if file.name != "acs_errors.py"]
    return [
        any(keyword.arg == "retry_after" for keyword in node.keywords)
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
    ]


@pytest.mark.parametrize("code", SECTIONS)
def test_retry(code: str, sent: dict[str, frozenset[bool]]) -> None:
    """A section says what the rule says, and names Retry-After if the app sends it."""
    statuses = {kind.status for kind in of_code(code)}
    expected = RETRY[sent[code]] if statuses <= RETRIED | {429} else "No"

    stated = SECTIONS[code].partition("**Retry.** ")[2]
    assert re.match(rf"{re.escape(expected)}[.:,]", stated)
    assert expected != "No" or sent[code] == {False}


def test_the_rule() -> None:
    """The rule names every status above 499; all others are repeated only with Retry-After."""
    rule = PAGE.read_text().partition("## When to retry")[2].partition("\n## ")[0]
    [without] = re.findall(r"^2\. \*\*(.+)\*\*", rule, re.MULTILINE)

    assert set(map(int, re.findall(r"\d+", without))) == RETRIED
    assert {kind.status for kind in KINDS if kind.status >= 500} == RETRIED


def test_openapi_promises_the_same(sent: dict[str, frozenset[bool]]) -> None:
    """A response of openapi.json has Retry-After if one of its codes can have it."""
    api = json.loads((ROOT / "openapi.json").read_text("utf-8"))
    shared: dict[str, Any] = api["components"]["responses"]
    of_operations = [
        response
        for methods in api["paths"].values()
        for operation in methods.values()
        for response in operation["responses"].values()
    ]

    for response in [*shared.values(), *of_operations]:
        codes = re.findall(r"`(\w+)`: ", response.get("description", ""))
        promised = response.get("headers", {}).get("Retry-After", {}).get("$ref", "")
        assert promised or not any(True in sent[code] for code in codes)
        if promised.endswith("/RetryAfter"):
            assert {sent[code] for code in codes} == {frozenset({True})}
