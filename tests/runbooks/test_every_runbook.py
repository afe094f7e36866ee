"""No runbook is left untried, but for what only Azure can show."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runbooks.az import COMMANDS
from tests.runbooks.operator import tool
from tests.runbooks.page import PAGE, runbooks, section, sections

# The depth of the headings of alerts and runbooks.
RUNBOOK_LEVEL = 3
# Runbooks without a command that could be tried here, and who does what they say.
IN_WORDS = {
    "Move to another ACS resource": "test_move.py",
    "Raise a quota": "test_quota.py",
}
# The commands that only Azure can show, and why.
ONLY_IN_AZURE = {
    "az functionapp keys set": "the Functions host stand-in has one key, and it is fixed",
    "az functionapp keys delete": "the same",
    "azd env new": "a deployment of its own is another local Azure here",
    "azd up": "the same",
}


def tried() -> set[tuple[str, str]]:
    """The commands that tests of this folder fetch from the page, each with its heading."""
    return {pair for module in Path(__file__).parent.glob("test_*.py") for pair in fetched(module)}


def fetched(module: Path) -> Iterator[tuple[str, str]]:
    """Those of one module."""
    text = module.read_text()
    headings = dict(re.findall(r'^(\w+) = section\("(.+?)"\)$', text, re.MULTILINE))
    for where, command in re.findall(r'(\w+|section\(".+?"\))\.command\("(.+?)"\)', text):
        heading = headings.get(where) or where.removeprefix('section("').removesuffix('")')
        yield heading, section(heading).command(command)


def written() -> set[tuple[str, str]]:
    """The commands of every alert and runbook on the page, each with its heading."""
    parts = (each for each in sections() if each.level == RUNBOOK_LEVEL)
    return {(each.heading, command) for each in parts for command in each.commands}


def azure_commands() -> set[str]:
    """Every command of Azure's own on the page, without its options."""
    commands = "\n".join(command for each in sections() for command in each.commands)
    return set(re.findall(r"\bazd?(?: [a-z][a-z-]+)+", commands))


def test_every_command_is_tried() -> None:
    """Or only Azure can show it."""
    untried = {command for _, command in written() - tried()}

    assert {one for one in untried if not one.startswith(tuple(ONLY_IN_AZURE))} == set()


def test_every_runbook_is_tried() -> None:
    """One that has no command to try is told in words, and a test does what they say."""
    headings = {each.heading for each in runbooks()}

    assert headings - {heading for heading, _ in tried()} == IN_WORDS.keys()


@pytest.mark.parametrize(("heading", "module"), IN_WORDS.items())
def test_what_is_told_in_words_is_done(heading: str, module: str) -> None:
    """By the tests of that module."""
    assert f'section("{heading}")' in (Path(__file__).parent / module).read_text()


def test_every_command_of_azure_is_known() -> None:
    """It is answered by the local Azure, or named here, with the reason."""
    assert azure_commands() == COMMANDS.keys() | ONLY_IN_AZURE.keys()


def test_the_page_says_where_it_is_tried() -> None:
    """By the name of this folder."""
    assert "`tests/runbooks`" in PAGE


def test_where_a_tool_is_missing_one_line_says_how_to_get_it() -> None:
    """These tests fail then: nobody should believe that they ran."""
    with pytest.raises(FileNotFoundError, match=r"^jq-that-is-nowhere is missing: apt-get install"):
        tool("jq-that-is-nowhere")
