"""The templates hang together, as far as their syntax tells; no compiler was at hand."""

import json
import re
from pathlib import Path

import pytest

from tests.infra.bicep import FILES, INFRA, read

ROOT = INFRA.parent
MAIN = read((INFRA / "main.bicep").read_bytes())
# What azd gives.
GIVEN = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
each_module = pytest.mark.parametrize("name", MAIN.modules)


@each_file
def test_syntax(path: Path) -> None:
    """There is no fault in it."""
    assert read(path.read_bytes()).faults == []


@pytest.mark.parametrize("text", ["param name", "resource x 'y' = {", "var a = {b: }"])
def test_a_fault_is_found(text: str) -> None:
    """Or the test above would show nothing."""
    assert read(text.encode()).faults


@each_file
def test_every_name_is_declared(path: Path) -> None:
    """And what is declared is used."""
    bicep = read(path.read_bytes())

    assert bicep.used - bicep.declared == set()
    assert (set(bicep.parameters) | bicep.variables) - bicep.used == set()


@each_module
def test_module_gets_its_parameters(name: str) -> None:
    """All that it needs, and none that it does not know."""
    file, given = MAIN.modules[name]

    assert given == set(read((INFRA / file).read_bytes()).parameters)


def test_outputs_exist() -> None:
    """What one module takes from another, that one gives."""
    given = {
        (module, output)
        for module, (file, _) in MAIN.modules.items()
        for output in read((INFRA / file).read_bytes()).outputs
    }

    assert MAIN.module_outputs <= given


def test_every_file_is_used() -> None:
    """No module stands about."""
    assert {path.name for path in FILES} == {
        "main.bicep",
        *(file for file, _ in MAIN.modules.values()),
    }


@each_file
def test_every_resource_is_of_a_fixed_version(path: Path) -> None:
    """Of a type in Azure itself: nothing is fetched from elsewhere."""
    bicep = read(path.read_bytes())
    own = [kind for kind in bicep.resources.values() if "/" in kind]

    assert [
        kind for kind in own if not re.fullmatch(r"Microsoft\.[\w/.]+@\d{4}-\d\d-\d\d", kind)
    ] == []
    assert [file for file, _ in bicep.modules.values() if ":" in file] == []


def test_azd_gives_what_has_to_be_given() -> None:
    """Every parameter without a default, and none that is not there."""
    needed = {name for name, is_needed in MAIN.parameters.items() if is_needed}

    assert needed <= set(GIVEN) <= set(MAIN.parameters)


def test_azd_knows_the_app() -> None:
    """It finds the function app by the tag that bears the service's name."""
    [service] = re.findall(
        r"^services:\n  (\w+):$", (ROOT / "azure.yaml").read_text(), re.MULTILINE
    )

    assert f"'azd-service-name': '{service}'" in (INFRA / "app.bicep").read_text()


def test_parameters_are_documented() -> None:
    """docs/deploy.md has each, with its description."""
    rows = re.findall(
        r"^\| `(\w+)` \|.*\| (.+) \|$", (ROOT / "docs" / "deploy.md").read_text(), re.MULTILINE
    )

    assert dict(rows) == MAIN.descriptions
    assert set(MAIN.descriptions) == set(MAIN.parameters)
