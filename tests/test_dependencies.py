"""Dependencies and the automation are pinned, checked and updated."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest

from tools.package.licences import PAGE, pinned

ROOT = Path(__file__).parent.parent
REQUIREMENTS = [ROOT / f"requirements{name}.txt" for name in ("", "-telemetry", "-run", "-dev")]
AUTOMATION = ROOT / ".github"
WORKFLOW = (AUTOMATION / "workflows" / "ci.yml").read_text()
DEPLOYMENT = (AUTOMATION / "workflows" / "azure-dev.yml").read_text()
DEPENDABOT = (AUTOMATION / "dependabot.yml").read_text()
AZD = msgspec.yaml.decode((ROOT / "azure.yaml").read_bytes())
# The schemas of the files that GitHub reads, by the files' places in .github.
SCHEMAS = {
    "vendor.github-workflows": "workflows/*",
    "custom.github-workflows-require-timeout": "workflows/*",
    "vendor.github-actions": "actions/*/*",
    "vendor.dependabot": "dependabot.yml",
    "vendor.github-issue-forms": "ISSUE_TEMPLATE/[!c]*",
    "vendor.github-issue-config": "ISSUE_TEMPLATE/config.yml",
}
MAKEFILE = (ROOT / "Makefile").read_text()
# These licences permit any kind of product. The MPL of certifi covers only certifi's own files.
ALLOWED = {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0"}
LOCK_FILES = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "*package-lock.json"],  # noqa: S607 -- git may be installed anywhere
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
]

each_file = pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)


@each_file
def test_every_pin_has_hashes(path: Path) -> None:
    """An installed package has exactly the pinned content."""
    entries = re.split(r"\n(?=[\w.-]+==)", path.read_text())

    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert len(entries) == len(pinned(path.read_text()))


@each_file
def test_no_registry_is_named(path: Path) -> None:
    """Python packages come from the index that pip is configured with."""
    assert re.findall(r"https?://|--(?:extra-)?index-url", path.read_text()) == []


@pytest.mark.parametrize("path", LOCK_FILES, ids=lambda path: path.parent.name)
def test_a_lock_file_names_no_registry(path: Path) -> None:
    """JavaScript packages come from the registry that npm is configured with, or are ours."""
    packages = json.loads(path.read_text())["packages"]
    located = {package["resolved"] for package in packages.values() if "resolved" in package}

    assert [place for place in located if not (path.parent / place / "package.json").exists()] == []


def test_the_deployed_versions_are_the_tested_ones() -> None:
    """`make run` has every version that may be deployed, and development has all of these."""
    deployed, telemetry, running, developed = (pinned(path.read_text()) for path in REQUIREMENTS)

    assert deployed | telemetry <= running <= developed


def test_telemetry_is_optional() -> None:
    """No package of OpenTelemetry is deployed by default: they are in a file of their own."""
    default, optional = (
        {name for name, _ in pinned(path.read_text())} for path in REQUIREMENTS[:2]
    )

    assert [name for name in default if "opentelemetry" in name] == []
    assert {"azure-monitor-opentelemetry", "opentelemetry-sdk"} <= optional


def test_the_command_line_is_tested_with_what_it_installs() -> None:
    """Each dependency of acsid has an upper limit, and requirements-dev.txt has its version."""
    project = tomllib.loads((ROOT / "cli" / "pyproject.toml").read_text())["project"]
    developed = {name for name, _ in pinned(REQUIREMENTS[-1].read_text())}

    for dependency in project["dependencies"]:
        assert re.fullmatch(r"[a-z]+>=[\d.]+,<[\d.]+", dependency)
        assert re.split(">", dependency)[0] in developed
    assert project["requires-python"] == ">=3.11"


def test_the_licence_of_every_deployed_package_is_allowed() -> None:
    """docs/licences.md, which `make pins` writes, lists each package. One choice is enough."""
    rows = re.findall(r"^\| (\S+) +\| (\d\S*) +\| (.+?) +\|$", PAGE.read_text(), re.MULTILINE)
    refused = [
        name
        for name, _, licence in rows
        if not any(set(choice.split(" AND ")) <= ALLOWED for choice in licence.split(" OR "))
    ]

    listed = {(name, version) for name, version, _ in rows}
    assert listed == {pin for path in REQUIREMENTS[:2] for pin in pinned(path.read_text())}
    assert refused == []


@pytest.mark.parametrize("schema", SCHEMAS)
def test_automation_is_well_formed(schema: str) -> None:
    """Each file is valid according to its public JSON schema, and each job has a time limit."""
    files = [str(path) for path in AUTOMATION.glob(SCHEMAS[schema])]
    call = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files]
    checked = subprocess.run(call, capture_output=True, text=True, check=False)  # noqa: S603 -- our own call

    assert checked.returncode == 0, checked.stdout


def test_every_file_that_github_reads_has_a_schema() -> None:
    """Only texts and scripts have none."""
    known = {path for place in SCHEMAS.values() for path in AUTOMATION.glob(place)}
    found = {path for path in AUTOMATION.rglob("*") if path.is_file()}

    assert {path.suffix for path in found - known} == {".md", ".sh"}


def test_ci_runs_make_targets() -> None:
    """CI runs the commands that a developer runs, and every target exists."""
    action = (ROOT / ".github" / "actions" / "set-up" / "action.yml").read_text()
    called = set(re.findall(r"run: make (\w+)", WORKFLOW + action))

    assert called == {"setup", "check", "test", "package", "audit"}
    assert called <= set(re.findall(r"^(\w+):.*##", MAKEFILE, re.MULTILINE))


def test_every_python_is_tested() -> None:
    """CI tests at least the versions that can be deployed, from that of pyproject.toml on."""
    oldest = re.findall(r'requires-python = ">=(\S+)"', (ROOT / "pyproject.toml").read_text())
    [deployed] = re.findall(
        r"@allowed\(\[('3[^\]]+)\]\)", (ROOT / "infra" / "main.bicep").read_text()
    )
    matrices = [json.loads(each) for each in re.findall(r"python: (\[.*\])", WORKFLOW)]

    tested = [f"3.{minor}" for minor in range(11, 15)]
    assert matrices == [tested] * 2
    assert set(deployed.replace("'", "").split(", ")) <= set(tested)
    assert oldest == tested[:1]


def test_every_action_is_pinned() -> None:
    """An action is pinned by its commit, because a tag can be moved."""
    files = [path.read_text() for path in AUTOMATION.rglob("*.yml")]
    uses = re.findall(r"uses: (\S+)(.*)", "\n".join(files))
    foreign = [(name, rest) for name, rest in uses if not name.startswith("./")]

    assert foreign
    for name, rest in foreign:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", name)
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", rest)


def test_an_action_has_one_version() -> None:
    """Every job uses the same one."""
    files = "\n".join(path.read_text() for path in AUTOMATION.rglob("*.yml"))
    versions = set(re.findall(r"uses: ([\w-]+/[\w-]+)\S*@(\S+)", files))

    assert len({action for action, _ in versions}) == len(versions)


def test_the_pipeline_deploys_with_the_parameters_of_azd() -> None:
    """`azd pipeline config` sets each as a variable on GitHub, and the workflow passes it.

    Others are outputs of the deployment before, which the workflow reads first.
    """
    parameters = (ROOT / "infra" / "main.parameters.json").read_text()
    outputs = re.findall(
        r"^output (\w+)", (ROOT / "infra" / "main.bicep").read_text(), re.MULTILINE
    )
    read = set(re.findall(r"\$\{(\w+)", parameters)) - set(outputs)
    ours = {name for name in read if not name.startswith("AZURE_")}
    passed = re.findall(r"^      (\w+): \$\{\{ vars\.(\w+) \}\}$", DEPLOYMENT, re.MULTILINE)

    assert sorted(AZD["pipeline"]["variables"]) == sorted(ours)
    assert [(name, name) for name, _ in passed] == passed
    assert ours < {name for name, _ in passed}
    assert DEPLOYMENT.index("azd env refresh") < DEPLOYMENT.index("azd provision --no-prompt")


def test_the_pipeline_installs_an_azd_that_the_project_accepts() -> None:
    """The range in azure.yaml has a lower end only."""
    [installed] = re.findall(r"setup-azd@.+\n        with:\n          version: (\S+)", DEPLOYMENT)
    oldest = AZD["requiredVersions"]["azd"].removeprefix(">= ")

    assert tuple(map(int, oldest.split("."))) <= tuple(map(int, installed.split(".")))


def test_dependabot_updates_every_lock_file() -> None:
    """Its configuration has every folder with a lock file."""
    folders = {f"/{path.parent.relative_to(ROOT)}" for path in LOCK_FILES}
    [watched] = re.findall(r"package-ecosystem: npm\n    directories: \[(.+)\]", DEPENDABOT)

    assert set(watched.split(", ")) == folders
