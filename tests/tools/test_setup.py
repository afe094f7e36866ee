"""What `make run` and `make test` install, and that the machine is checked before."""

import ast
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from local.azure import Ports
from local.commands import COMMANDS
from tools.package.licences import pinned
from tools.setup import ROOT
from tools.setup.machine import LISTENS, PORTS, is_supported, ports, taken
from tools.setup.programs import browser, commands
from tools.setup.steps import Failed, Step

CHECK_PYTHON = ROOT / "tools" / "check_python.py"
NAMES = [port.name for port in fields(Ports)]
OLD_NODE = "#!/bin/sh\necho v18.20.4\n"


@pytest.fixture
def used() -> Iterator[int]:
    """A port that another program has."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A clone in which nothing is installed, on a machine with an old Node."""
    shutil.copytree(
        ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name, content in (("node", OLD_NODE), ("npm", "")):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def test_the_machine_is_checked_before_anything_is_installed(fresh: Path, used: int) -> None:
    """Node and all taken ports are reported at once, with the option for each port."""
    options = [f"--{name}-port={used if name in {'app', 'blob'} else 0}" for name in NAMES]

    done = subprocess.run(  # noqa: S603 -- our own module
        [sys.executable, "-m", "tools.setup", "run", *options],
        cwd=fresh,
        env={"PATH": str(fresh)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "Node 20.19 or newer is needed, and not 21 or 22.0 to 22.11: this is v18.20.4.",
        f"Port {used} is in use: choose another with --app-port.",
        f"Port {used} is in use: choose another with --blob-port.",
        'For example: make run ARGS="--app-port 0" (0 is any free port)',
    ]
    assert not (fresh / ".venv").exists()


def test_the_checked_ports_are_those_of_the_local_azure() -> None:
    """Each option has the same default, and each command exists."""
    assert {f"--{port.name}-port": port.default for port in fields(Ports)} == PORTS
    assert COMMANDS.keys() | {"token"} >= LISTENS.keys()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", PORTS),
        ("--app-port 0 --set CLEANUP_MAX_ATTEMPTS=3", PORTS | {"--app-port": 0}),
        ("telemetry --table-port=9000", PORTS | {"--table-port": 9000}),
        ("acs --acs-port 9000", {"--acs-port": 9000}),
        ("azure", {name: port for name, port in PORTS.items() if name != "--app-port"}),
        ("token --app billing", {}),
    ],
)
def test_the_ports_are_those_of_the_command(arguments: str, expected: dict[str, int]) -> None:
    """Only the ports on which it will listen are checked."""
    assert ports(arguments.split()) == expected


def test_two_options_cannot_have_the_same_port() -> None:
    """The second one is reported."""
    with socket.socket() as reserved:  # no other program gets its port, and it does not listen
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        free = reserved.getsockname()[1]

        reported = taken({"--app-port": free, "--acs-port": free, "--blob-port": 0})

    assert reported == [f"Port {free} is in use: choose another with --acs-port."]


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("v18.20.4", False),
        ("v20.18.3", False),
        ("v20.19.0", True),
        ("v21.7.3", False),
        ("v22.11.0", False),
        ("v22.12.0", True),
        ("v24.1.0", True),
        ("", False),
    ],
)
def test_the_version_of_node_is_checked(version: str, expected: bool) -> None:
    """The build of the example page runs on these."""
    assert is_supported(version) is expected


def test_an_old_python_is_reported() -> None:
    """One line names both versions, and how to choose another Python."""
    program = f"import sys; sys.version_info = (3, 9, 2); exec(open({str(CHECK_PYTHON)!r}).read())"

    done = subprocess.run(  # noqa: S603 -- our own script
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "Python 3.11 or newer is needed, and this is Python 3.9.2. Install a newer one, or name"
        " one: make run PYTHON=python3.12\n"
    )


def test_an_old_python_can_run_the_check() -> None:
    """The file has only what Python 2.7 knows: no annotation, and no f-string."""
    new = (ast.AnnAssign, ast.FunctionDef, ast.JoinedStr, ast.Match, ast.NamedExpr)

    tree = ast.parse(CHECK_PYTHON.read_text())

    assert [type(node) for node in ast.walk(tree) if isinstance(node, new)] == []


def test_what_runs_is_installed() -> None:
    """requirements-run.txt has every package that the app, the local Azure and acsid import."""
    distributions = packages_distributions()
    installed = {name for name, _ in pinned((ROOT / "requirements-run.txt").read_text())}
    sources = [ROOT / "function_app.py"]
    for folder in ("identity_service", "local", "cli/acsid"):
        sources += (
            path for path in (ROOT / folder).rglob("*.py") if "node_modules" not in str(path)
        )

    imported = {name for path in sources for name in _imported(path)}

    providers = {
        name: {each.lower().replace("_", "-") for each in distributions.get(name, [])}
        for name in imported - sys.stdlib_module_names - {"identity_service", "local", "acsid"}
    }
    assert "trustme" in providers
    assert {name for name, found in providers.items() if not found & installed} == set()


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_a_step_is_done_once(tmp_path: Path) -> None:
    """It is done again when its input has changed."""
    step = _step(tmp_path, "echo installed >> result/log")

    states = [step.is_done()]
    step.do()
    states.append(step.is_done())
    (tmp_path / "requirements.txt").write_text("changed")
    states.append(step.is_done())

    assert states == [False, True, False]


def test_a_failed_step_shows_its_output(tmp_path: Path) -> None:
    """The last line says what failed. The next start does the step again."""
    step = _step(tmp_path, "echo the reason; exit 1")

    with pytest.raises(Failed, match=r"^the reason\na step: failed. Is this machine online\?$"):
        step.do()

    assert not step.is_done()


def _step(folder: Path, script: str) -> Step:
    (folder / "requirements.txt").touch()
    (folder / "result").mkdir()
    return Step(
        "a step",
        str(folder / "result"),
        {str(folder / "result" / ".ready"): (str(folder / "requirements.txt"),)},
        (("/bin/sh", "-c", f"cd {folder}; {script}"),),
    )


@pytest.mark.parametrize(
    ("is_root", "is_ubuntu", "has_apt", "expected"),
    [
        (True, False, True, ["apt-get update", "apt-get install chromium jq"]),
        (
            True,
            True,
            True,
            ["playwright install chromium", "apt-get update", "apt-get install jq"],
        ),
        (False, False, True, ["playwright install chromium"]),
        (True, False, False, ["playwright install chromium"]),
    ],
    ids=["root on Debian", "root on Ubuntu", "a user", "root without apt-get"],
)
def test_the_missing_programs_are_installed(
    is_root: bool, is_ubuntu: bool, has_apt: bool, expected: list[str]
) -> None:
    """Only root can install packages of the system."""
    found = commands(["chromium", "jq"], is_root, is_ubuntu, has_apt)

    python = (sys.executable, "-m")
    words = [each[2:] if each[:2] == python else each for each in found]
    assert [" ".join(w for w in each if not w.startswith("-")) for each in words] == expected


def test_a_user_without_a_browser_only_gets_a_browser() -> None:
    """Nothing is downloaded if only curl is missing."""
    assert commands(["curl"], is_root=False, is_ubuntu=False, has_apt=True) == []


@pytest.mark.parametrize(("exit_code", "works"), [(0, True), (1, False)])
def test_a_browser_must_start(
    exit_code: int, works: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that cannot even tell its version is not used, and the error says what to do."""
    script = tmp_path / "browser"
    script.write_text(f"#!/bin/sh\necho version\nexit {exit_code}\n")
    script.chmod(0o755)
    monkeypatch.setenv("CHROMIUM", str(script))

    try:
        found = browser()
    except FileNotFoundError as reason:
        found = str(reason)

    assert (found == str(script)) is works
    assert ("playwright install --with-deps chromium" in found) is not works
