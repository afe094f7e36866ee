"""Every command in the documents runs as it is printed, or a table here says why it does not.

A page is run as a reader runs it: in order, in one shell, in a clone of the project in a folder
with a space and a quote in its name. An HTTP error fails the page, and so does another output than
the page shows. These things differ:

- The address of the app in Azure becomes that of the local app.
- The app that the tests share is running in the clone. An app that a page starts has free ports.
- Besides this machine's programs, the path has `acsid`, as after `pipx install`, and Python without
  packages. So a command that needs the project's packages has to begin with `.venv/bin/`.
- `make` only prints what it would do, because its targets install packages or run for minutes. The
  workflow of CI runs them.
- `az`, `azd` and `func` need Azure. Only the commands run that the runbooks emulate.
- The lines of NOT_RUN and the pages of ELSEWHERE are left out.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import httpx
import pytest

from local.workspace import Workspace
from tests.cli.test_commands import COMMANDS as ACSID_COMMANDS
from tests.runbooks.az import COMMANDS as AZURE_COMMANDS
from tests.runbooks.page import OPENING
from tests.runbooks.test_every_runbook import ONLY_IN_AZURE, covered
from tests.support.printed import (
    CODE,
    Printed,
    documents,
    logical_lines,
    named_on,
    printed_on,
)
from tests.support.programs import required
from tests.support.stack import (
    FREE_PORTS,
    PATIENCE,
    ROOT,
    SERVING,
    App,
    program,
    running_app,
    running_azure,
)
from tools.setup.programs import program as installed

# The users that the pages create.
USERS = ("alice",)
# What the commands need besides the packages of the project.
PROGRAMS = ("bash", "curl", "jq", "make", "node")
# Pages whose commands tests/runbooks runs, each with its section.
RUNBOOKS = ("docs/operate.md", "docs/retirement.md")
# Pages whose commands other tests run: tests/examples/test_readmes.py.
ELSEWHERE = {*RUNBOOKS, "examples/node/README.md", "examples/python/README.md"}


@dataclass(frozen=True)
class NotRun:
    """Lines that are not run.

    Attributes:
        begins: How the line begins, with what continues it.
    """

    page: str
    begins: str
    reason: str


NOT_RUN = (
    NotRun("README.md", "1. Create an identity", "output of `make run`; tests/local"),
    NotRun("README.md", "2. Issue an access token", "output of `make run`; tests/local"),
    NotRun("cli/README.md", "pipx install ./cli", "changes the machine; `make setup` installs it"),
    NotRun("docs/api.md", "npx ", "would download it; tests/contract runs the installed one"),
    NotRun("docs/api.md", "const service = ", "an excerpt; tests/contract compiles a client"),
    NotRun("docs/operate.md", "operation_finished ", "log lines; tests/test_docs.py"),
    NotRun("docs/security.md", "az communication regenerate-key", "tests/runbooks/test_keys.py"),
    NotRun("docs/deploy.md", "sh infra/registration.sh", "tests/infra/test_registration.py"),
    NotRun("docs/deploy.md", "echo '-r requirements", "changes the clone, and needs Azure"),
    NotRun(
        "examples/web/README.md", "const signIn = ", "needs Entra; `npm run check` has its types"
    ),
    NotRun("examples/web/README.md", "npm ", "in its own folder; `make setup` runs both"),
    NotRun(
        "local/README.md",
        ".venv/bin/python -m local --set COMMUNICATION_SERVICES_ENDPOINT=",
        "needs Azure; tests/local/test_command_line.py",
    ),
    NotRun("local/README.md", "delete_identity ", "output of telemetry; tests/local"),
    NotRun(
        "local/functions_host/README.md", "LOCAL_HOST", "fixed port; tests/local/functions_host"
    ),
    NotRun("local/functions_host/README.md", "curl ", "placeholders; tests/local/functions_host"),
)

# What a server prints when it can be used. `run` then walks through its app, which takes a while.
READY = {**SERVING, "run": "Create an identity"}
_AZURE_COMMAND = re.compile(r"\b(?:azd?|func)(?: [a-z][a-z-]+)+")
_SERVER = re.compile(
    r"(?P<command>\.venv/bin/python -m local( (?P<name>run|azure|acs))?( --[^#\n]*)?)( +#.*)?$"
)
_MARK = "==== the next command ===="
_APP_IN_AZURE = "https://APP.azurewebsites.net"


@cache
def everything() -> tuple[Printed, ...]:
    """Everything that is printed in the documents."""
    return tuple(each for page in documents() for each in printed_on(page))


def exceptions(printed: Printed, line: str) -> list[NotRun]:
    """The exceptions that apply to a line."""
    return [each for each in NOT_RUN if each.page == printed.page and line.startswith(each.begins)]


def needs_azure(printed: Printed) -> bool:
    """Whether a command uses Azure, except for what the `az` of the runbooks can do."""
    commands = set(_AZURE_COMMAND.findall(printed.text)) if printed.language == "sh" else set()
    return not commands <= AZURE_COMMANDS.keys()


def runnable(printed: Printed) -> Printed | None:
    """What is to run, without the exceptions. None: nothing."""
    if printed.page in ELSEWHERE or needs_azure(printed):
        return None
    if printed.language != "sh":
        return None if exceptions(printed, printed.text) else printed
    lines = [line for line in logical_lines(printed.text) if not exceptions(printed, line)]
    return replace(printed, text="\n".join(lines)) if lines else None


def runnable_on(page: str) -> list[Printed]:
    """What is to run on a page, in its order."""
    on_page = (printed for printed in everything() if printed.page == page)
    return [each for printed in on_page if (each := runnable(printed))]


def test_every_block_can_be_run_or_says_why_not() -> None:
    """It begins with a known program or has a language, or the table has it."""
    unknown = [each for each in everything() if each.language not in ("sh", *CODE)]

    assert [str(each) for each in unknown if not exceptions(each, each.text)] == []


def test_every_exception_is_needed() -> None:
    """An exception whose command is gone would hide a new one."""
    used = {
        exception
        for printed in everything()
        for line in logical_lines(printed.text)
        for exception in exceptions(printed, line)
    }

    assert set(NOT_RUN) - used == set()


@pytest.mark.parametrize("page", [page for page in documents() if page != "CHANGELOG.md"])
def test_a_command_that_a_sentence_names_exists(page: str) -> None:
    """Its make target, Python module or subcommand. The change log names earlier ones."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known = {
        "make": lambda name: name in targets,
        "python -m": lambda name: find_spec(name) is not None,
        "acsid": lambda name: name in ACSID_COMMANDS,
    }
    words = re.compile(r"(make|python -m|acsid) ([\w.]+)")

    named = [match for command in named_on(page) for match in words.findall(command)]

    assert [(program, name) for program, name in named if not known[program](name)] == []


@pytest.mark.parametrize("page", RUNBOOKS)
def test_the_tests_of_the_runbooks_run_the_commands_of_their_pages(page: str) -> None:
    """Every command is part of a section that they run, or only Azure can run it."""
    commands = "\n".join(command for _, command in covered()) + OPENING
    printed = [each for each in everything() if each.page == page and each.language == "sh"]

    missed = [each.text for each in printed if each.text not in commands]

    assert [text for text in missed if not text.startswith(tuple(ONLY_IN_AZURE))] == []


@dataclass(frozen=True)
class Reader:
    """A reader with a clone of the project, in which the app of the tests runs."""

    clone: Path
    app: App

    def run(self, page: str) -> None:
        """Run all commands of a page, in one shell until the page starts another app."""
        with ExitStack() as servers:
            commands: list[Printed] = []
            for printed in runnable_on(page):
                if server := _SERVER.match(printed.text):
                    self._run(commands)
                    commands.clear()
                    servers.close()
                    self._start(servers, printed, server)
                else:
                    commands.append(printed)
            self._run(commands)

    def _start(self, servers: ExitStack, printed: Printed, found: re.Match[str]) -> None:
        call = ["bash", "-c", f"exec {found['command']} {' '.join(FREE_PORTS)}"]
        environ = {"PATH": self._path, "PYTHONUNBUFFERED": "1"}
        server = servers.enter_context(program(call, self.clone, self.clone, environ))
        server.read_until(READY[found["name"] or "run"])

        assert not printed.output or printed.shows(server.output), f"{printed}\n{server.output}"

    def _run(self, commands: list[Printed]) -> None:
        """Run commands one after the other in one shell, and compare their output."""
        with subprocess.Popen(  # noqa: S603 -- the commands of our own pages
            [installed("bash"), "-c", "\n".join([_PREAMBLE, *map(self._script, commands)])],
            cwd=self.clone,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as shell:
            try:
                printed_by_all = shell.communicate(timeout=3 * PATIENCE)[0]
            finally:
                # A command that does not end, and what a command has left behind.
                with suppress(ProcessLookupError):
                    os.killpg(shell.pid, signal.SIGKILL)
        outputs = printed_by_all.split(f"{_MARK}\n")[1:]
        last = commands[len(outputs) - 1] if outputs else ""

        assert shell.returncode == 0, f"{last}\n{printed_by_all[-2000:]}"
        for printed, output in zip(commands, outputs, strict=True):
            assert not printed.output or printed.shows(output), f"{printed}\n{output}"

    def _script(self, printed: Printed) -> str:
        text = printed.text.replace(_APP_IN_AZURE, self.app.url)
        text = text.replace("ACSID_KEY=…", f"ACSID_KEY={self.app.function_key}")
        if interpreter := CODE.get(printed.language):
            text = f"{interpreter} <<'THE END OF THE BLOCK'\n{text}\nTHE END OF THE BLOCK"
        return f"echo '{_MARK}'\n{text}"

    @property
    def _path(self) -> str:
        return os.pathsep.join([str(self.clone / "home" / "bin"), os.environ["PATH"]])

    @property
    def _environ(self) -> dict[str, str]:
        return {
            "PATH": self._path,
            "HOME": str(self.clone / "home"),
            "LC_ALL": "C.UTF-8",
            "KEY": self.app.function_key,
            "ENV_OF_THE_APP": str(self.clone / ".local" / "env"),
            "ROOT": str(ROOT),
            "PYTHON": sys.executable,
        }


_PREAMBLE = """set -euo pipefail
exec 2>&1
make() { command make --dry-run "$@"; }
az() { (. "$ENV_OF_THE_APP"; cd "$ROOT"; "$PYTHON" -m tests.runbooks.az "$@"); }"""


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the project, and links to what `make setup` installs."""
    for name in PROGRAMS:
        required(partial(installed, name))
    folder = tmp_path_factory.mktemp("clone") / "a reader's folder"
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 -- our own call
    for name in filter(lambda name: (ROOT / name).is_file(), listed.stdout.splitlines()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "local" / "node_modules").symlink_to(ROOT / "local" / "node_modules")
    (folder / "node_modules").symlink_to(ROOT / "tests" / "sdk" / "node_modules")
    (folder / "home" / "bin").mkdir(parents=True)
    (folder / "home" / "bin" / "acsid").symlink_to(Path(sys.prefix) / "bin" / "acsid")
    (folder / "home" / "bin" / "python3").symlink_to(Path(sys.executable).resolve())
    (folder / "home" / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n")
    return folder


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An app of its own: some pages export or change everything that there is."""
    with (
        running_azure(tmp_path_factory.mktemp("azure")) as azure,
        running_app(azure, tmp_path_factory.mktemp("app")) as started,
    ):
        yield started


@pytest.fixture
def reader(clone: Path, app: App) -> Iterator[Reader]:
    """A reader of the pages, whose clone knows the running app."""
    _purge_users(app)
    workspace = Workspace(clone)
    workspace.folder.mkdir(exist_ok=True)
    workspace.write_env({**app.azure.env, "FUNCTIONS_URL": app.url})
    yield Reader(clone, app)
    workspace.env_file.unlink(missing_ok=True)


def _purge_users(app: App) -> None:
    """For a reader of a page, its users are new. Other pages have created the same ones."""
    key = {"x-functions-key": app.function_key}
    with httpx.Client(base_url=f"{app.url}/api/", headers=key) as client:
        for user, place in product(USERS, ("identities", "deleted-identities")):
            found = client.get(place, params={"userId": user}).raise_for_status()
            for identity in found.json()["value"]:
                client.delete(f"{place}/{identity['id']}").raise_for_status()


@pytest.mark.parametrize("page", [page for page in documents() if runnable_on(page)])
def test_the_commands_of_a_page_run(reader: Reader, page: str) -> None:
    """They succeed in the order of the page, and print what the page shows."""
    reader.run(page)
