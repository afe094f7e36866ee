"""The templates are consistent, as far as their syntax trees show."""

import json
import re
from pathlib import Path

import pytest

from identity_service.schemas import ImportIdentitiesRequest
from identity_service.settings_table import BODY_SIZE_LIMIT, RESOURCE_ID
from local.functions_host.host import CALLS_AT_ONCE
from tests.infra.bicep import FILES, INFRA, read

ROOT = INFRA.parent
MAIN = read((INFRA / "main.bicep").read_bytes())
# The parameters that azd passes.
PASSED = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
# This type has no stable version with categories of logs.
WITHOUT_STABLE_VERSION = "Microsoft.Insights/diagnosticSettings@2021-05-01-preview"

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
each_module = pytest.mark.parametrize("name", MAIN.modules)


@each_file
def test_syntax(path: Path) -> None:
    """A template has no syntax error."""
    assert read(path.read_bytes()).errors == []


@pytest.mark.parametrize("text", ["param name", "resource x 'y' = {", "var a = {b: }"])
def test_syntax_error_is_found(text: str) -> None:
    """The check above detects syntax errors."""
    assert read(text.encode()).errors


@each_file
def test_every_name_is_declared(path: Path) -> None:
    """Every used name is declared, and every parameter and variable is used."""
    bicep = read(path.read_bytes())

    assert bicep.used - bicep.declared == set()
    assert (set(bicep.parameters) | bicep.variables) - bicep.used == set()


@each_module
def test_module_gets_its_parameters(name: str) -> None:
    """A module gets exactly the parameters that it declares."""
    file, given = MAIN.modules[name]

    assert given == set(read((INFRA / file).read_bytes()).parameters)


def test_outputs_exist() -> None:
    """Every output that is used is declared by its module."""
    given = {
        (module, output)
        for module, (file, _) in MAIN.modules.items()
        for output in read((INFRA / file).read_bytes()).outputs
    }

    assert MAIN.module_outputs <= given


def test_every_file_is_used() -> None:
    """main.bicep uses every other template."""
    assert {path.name for path in FILES} == {
        "main.bicep",
        *(file for file, _ in MAIN.modules.values()),
    }


def test_everything_is_in_the_own_group() -> None:
    """`azd down` deletes every group that has something of the deployment: only its own has."""
    assert set(MAIN.modules) <= set(MAIN.scopes)
    assert set(MAIN.scopes.values()) == {"group"}


@each_file
def test_every_resource_has_a_fixed_version(path: Path) -> None:
    """Resources have Azure's own types with a fixed version, and modules are local files."""
    bicep = read(path.read_bytes())
    own = {kind for kind in bicep.resources.values() if "/" in kind} - {WITHOUT_STABLE_VERSION}

    assert [
        kind for kind in own if not re.fullmatch(r"Microsoft\.[\w/.]+@\d{4}-\d\d-\d\d", kind)
    ] == []
    assert [file for file, _ in bicep.modules.values() if ":" in file] == []


def test_azd_passes_the_required_parameters() -> None:
    """Parameters without a default are passed by azd, and only declared ones."""
    needed = {name for name, is_needed in MAIN.parameters.items() if is_needed}

    assert needed <= set(PASSED) <= set(MAIN.parameters)


def test_azd_finds_the_app() -> None:
    """The function app's tag contains the service name, by which azd finds it."""
    [service] = re.findall(
        r"^services:\n  (\w+):$", (ROOT / "azure.yaml").read_text(), re.MULTILINE
    )

    assert f"'azd-service-name': '{service}'" in (INFRA / "app.bicep").read_text()


def test_body_size_limit() -> None:
    """The host refuses bodies above 1 MiB, in Azure and locally. The app accepts less than that."""
    limit = dict(read((INFRA / "app.bicep").read_bytes()).values)[
        f"properties.{BODY_SIZE_LIMIT.name}"
    ]

    assert limit == f"'{BODY_SIZE_LIMIT.sample}'"
    assert int(limit.strip("'")) == 1024 * 1024 > ImportIdentitiesRequest.body_limit


def test_calls_at_once() -> None:
    """The platform sends an instance as many calls as the local host, whichever way it is set."""
    limit = dict(read((INFRA / "app.bicep").read_bytes()).values)[
        "properties.functionAppConfig.scaleAndConcurrency.triggers.http.perInstanceConcurrency"
    ]
    page = (ROOT / "docs" / "deploy.md").read_text()

    assert limit == str(CALLS_AT_ONCE)
    assert re.findall(r"perInstanceConcurrency=(\d+)", page) == [limit]


def test_app_gets_the_guid_of_its_resource() -> None:
    """A new resource and an existing one have it in the same property."""
    app = dict(read((INFRA / "app.bicep").read_bytes()).values)
    sources = [(INFRA / file).read_text() for file in ("main.bicep", "communication.bicep")]

    assert app[f"properties.{RESOURCE_ID.name}"] == "communicationGuid"
    assert [source.count(".properties.immutableResourceId\n") for source in sources] == [1, 1]


def test_locks_are_documented() -> None:
    """docs/deploy.md has a command that removes each lock, by its name."""
    page = (ROOT / "docs" / "deploy.md").read_text()
    sources = "".join(path.read_text() for path in FILES)
    names = re.findall(r"/locks@[\d-]+' = .*\{\n  name: '([\w-]+)'", sources)

    assert set(names) == set(re.findall(r"az lock delete --name ([\w-]+)", page))


def test_locks_to_remove_after_a_theft() -> None:
    """The steps name the lock of a new ACS resource, and the one that operators put on another."""
    deploy, security = (ROOT / "docs" / "deploy.md", ROOT / "docs" / "security.md")
    new = re.findall(r"  name: '(keep-[\w-]+)'", (INFRA / "communication.bicep").read_text())
    existing = re.findall(r"az lock create --name ([\w-]+)", deploy.read_text())
    _, _, steps = security.read_text().partition("### After the app's identity was stolen")
    named = re.findall(r"`(keep-[\w-]+)`", steps.partition("\n## ")[0])

    assert named == new + existing


def test_parameters_are_documented() -> None:
    """docs/deploy.md lists every parameter with its description."""
    rows = re.findall(
        r"^\| `(\w+)` \|.*\| (.+) \|$", (ROOT / "docs" / "deploy.md").read_text(), re.MULTILINE
    )

    assert dict(rows) == MAIN.descriptions
    assert set(MAIN.descriptions) == set(MAIN.parameters)
