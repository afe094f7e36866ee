"""docs/problems.md describes every problem, with its status and title."""

import json
import re
from pathlib import Path

import pytest

from identity_service.errors import ServiceError
from identity_service.http.responses import problem
from identity_service.schemas import PROBLEMS
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
