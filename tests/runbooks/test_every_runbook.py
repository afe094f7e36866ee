"""No runbook is left untried, but for what only Azure can show."""

import re
from pathlib import Path

import pytest

from tests.runbooks.az import COMMANDS
from tests.runbooks.operator import tool
from tests.runbooks.page import PAGE, runbooks, sections

# The headings that only Azure can show, and why. There is none.
UNTRIED: dict[str, str] = {}
# The commands that only Azure can show, and why.
ONLY_IN_AZURE = {
    "az functionapp keys set": "the Functions host stand-in has one key, and it is fixed",
    "az functionapp keys delete": "the same",
    "azd env new": "a deployment of its own is another local Azure here",
    "azd up": "the same",
}


def tried() -> set[str]:
    """The sections that tests of this folder follow."""
    modules = Path(__file__).parent.glob("test_*.py")
    text = "".join(module.read_text() for module in modules)
    return set(re.findall(r'^\w+ = section\("(.+?)"\)', text, re.MULTILINE))


def azure_commands() -> set[str]:
    """Every command of Azure's own on the page, without its options."""
    commands = "\n".join(command for each in sections() for command in each.commands)
    return set(re.findall(r"\bazd?(?: [a-z][a-z-]+)+", commands))


def test_every_runbook_is_tried() -> None:
    """Or it is named here, with the reason."""
    assert {each.heading for each in runbooks()} - tried() == UNTRIED.keys()


def test_every_command_of_azure_is_known() -> None:
    """It is answered by the local Azure, or named here, with the reason."""
    assert azure_commands() == COMMANDS.keys() | ONLY_IN_AZURE.keys()


def test_every_command_of_an_alert_is_tried() -> None:
    """So many there are: what to do about an alert is mostly to look."""
    alerts = [each for each in sections() if each.level == 3 and each not in runbooks()]

    assert {each.heading for each in alerts if each.commands} <= tried()


def test_the_page_says_where_it_is_tried() -> None:
    """By the name of this folder."""
    assert "`tests/runbooks`" in PAGE


def test_where_a_tool_is_missing_one_line_says_how_to_get_it() -> None:
    """These tests fail then: nobody should believe that they ran."""
    with pytest.raises(FileNotFoundError, match=r"^jq-that-is-nowhere is missing: apt-get install"):
        tool("jq-that-is-nowhere")
