"""Every runbook is tested, except for the commands that only Azure can run."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runbooks.az import COMMANDS
from tests.runbooks.page import runbooks, section, sections

# The level of the headings of alerts and runbooks.
RUNBOOK_LEVEL = 3
# Runbooks without a command that can run locally, and the module that follows their steps.
WITHOUT_COMMAND = {
    "move-to-another-acs-resource": "test_move.py",
    "raise-a-quota": "test_quota.py",
}
# Commands that cannot run locally, and why.
ONLY_IN_AZURE = {
    "az functionapp function keys set": "the local host has one fixed key",
    "az functionapp function keys delete": "the local host has one fixed key",
    "az functionapp restart": "tests restart the local app in their own way",
    "az functionapp function list": "the local host lists its functions in another way",
    "az communication show": "only resources of Azure have an id",
    "az storage account show": "only resources of Azure have an id",
    "az monitor activity-log list": "the local Azure has no activity log",
    "azd env new": "here, a second deployment is another local Azure",
    "azd up": "here, a second deployment is another local Azure",
    "azd env set": "the local Azure has no deployment",
    "azd env get-value": "the local Azure has no deployment",
    "azd provision": "the local Azure has no deployment",
    "az lock delete": "the local Azure has no locks",
    "az role assignment delete": "the local Azure has no role assignments",
    "az storage container delete": "cleans up in Azure",
    "azd down": "the local Azure has no deployment",
    "azd deploy": "here, the code of the clone runs",
}


def covered() -> set[tuple[str, str]]:
    """Returns the commands that the tests of this folder take from the page, by section."""
    return {pair for module in Path(__file__).parent.glob("test_*.py") for pair in taken(module)}


def taken(module: Path) -> Iterator[tuple[str, str]]:
    """Returns the commands that one module takes."""
    text = module.read_text()
    names = dict(re.findall(r'^(\w+) = section\("(.+?)"\)$', text, re.MULTILINE))
    for where, command in re.findall(r'(\w+|section\(".+?"\))\.command\("(.+?)"\)', text):
        slug = names.get(where) or where.removeprefix('section("').removesuffix('")')
        yield slug, section(slug).command(command)


def written() -> set[tuple[str, str]]:
    """Returns the commands of every alert and runbook on the pages, by section."""
    parts = (each for each in sections() if each.level == RUNBOOK_LEVEL)
    return {(each.slug, command) for each in parts for command in each.commands}


def azure_commands() -> set[str]:
    """Returns every `az` and `azd` command of the pages without its options."""
    commands = "\n".join(command for each in sections() for command in each.commands)
    return set(re.findall(r"\bazd?(?: [a-z][a-z-]+)+", commands))


def test_every_command_is_tested() -> None:
    """Only commands that cannot run locally are left out."""
    untested = {command for _, command in written() - covered()}

    assert {one for one in untested if not one.startswith(tuple(ONLY_IN_AZURE))} == set()


def test_every_runbook_is_tested() -> None:
    """A runbook without a command has a test module that follows its steps."""
    slugs = {each.slug for each in runbooks()}

    assert slugs - {slug for slug, _ in covered()} == WITHOUT_COMMAND.keys()


@pytest.mark.parametrize(("slug", "module"), WITHOUT_COMMAND.items())
def test_a_runbook_without_a_command_has_a_module(slug: str, module: str) -> None:
    """The module names the section."""
    assert f'section("{slug}")' in (Path(__file__).parent / module).read_text()


def test_every_azure_command_is_known() -> None:
    """The local Azure can run it, or the table above says why it cannot."""
    assert azure_commands() == COMMANDS.keys() | ONLY_IN_AZURE.keys()
