"""The commands in the READMEs of the backends do what the READMEs print."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.service import KEY
from tests.examples.conftest import Alice, Backend, Driver, FaultyService
from tests.support.stack import PATIENCE, ROOT, App

BLOCK = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"^```(?:js|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\$ (.*\n)((?:(?!\$ ).*\n)*)", re.MULTILINE)
END = "-- end of a command --"
PORT = "8080"


def console(language: str) -> list[list[tuple[str, str]]]:
    """The commands of each block with what they print."""
    readme = (ROOT / "examples" / language / "README.md").read_text()
    return [COMMAND.findall(block) for block in BLOCK.findall(readme)]


def code(language: str, name: str) -> str:
    """The first block of code in this language with this name in it."""
    readme = (ROOT / "examples" / language / "README.md").read_text()
    blocks: list[str] = CODE.findall(readme)
    return next(each for each in blocks if name in each)


@pytest.fixture
def folder(app: App, tmp_path: Path) -> Path:
    """The project's folder, where `make run` runs."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / ".local").mkdir()
    env = {**app.azure.env, "FUNCTIONS_URL": app.url, "FUNCTION_KEY": app.function_key}
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in env.items()]
    (tmp_path / ".local" / "env").write_text("".join(lines))
    return tmp_path


@contextmanager
def bash(folder: Path, script: str) -> Iterator["subprocess.Popen[str]"]:
    """Runs a script until the end of the block."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with subprocess.Popen(  # noqa: S603 -- our own commands
        ["bash", "-c", script],  # noqa: S607 -- from PATH
        cwd=folder,
        # The backend has a free port. curl finds it under the port that the README prints.
        env={"PATH": path, "PORT": "0", "CURL_HOME": str(folder)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)


@pytest.mark.parametrize("language", ["python", "node"])
def test_the_commands_do_what_is_printed(folder: Path, language: str) -> None:
    """Every command of the README, in its order. `…` stands for any text."""
    if not shutil.which("curl"):
        pytest.skip("curl is missing")
    server, client = console(language)
    script = "".join(f"{command}echo '{END}'\n" for command, _ in client)
    with bash(folder, "".join(command for command, _ in server)) as backend:
        assert backend.stdout
        line = backend.stdout.readline()
        port = line.strip().rpartition(":")[2]
        (folder / ".curlrc").write_text(f'connect-to = "localhost:{PORT}:127.0.0.1:{port}"\n')
        with bash(folder, script) as commands:
            output, _ = commands.communicate(timeout=PATIENCE)

    assert server[-1][1] == line.replace(port, PORT)
    for (command, printed), result in zip(client, output.split(f"{END}\n"), strict=False):
        pattern = re.escape(printed).replace("…", ".*")
        assert re.fullmatch(pattern, result), f"{command}{result}"
    assert output.count(END) == len(client) > 1


def test_the_code_for_a_bot_gets_a_token(started_driver: Driver, service: FaultyService) -> None:
    """As printed, with Microsoft's credential."""
    url, key = ("service_url", "service_key")
    if started_driver.name == "node":
        url, key = ("serviceUrl", "serviceKey")
    snippet = code(started_driver.name, "AccessTokens(")

    token = started_driver.do("run", snippet, {url: service.url, key: KEY})

    assert token.startswith("e30.")
    assert service.received[-1].body["userId"] == "bot"


@pytest.mark.parametrize("started_driver", ["node"], indirect=True)
@pytest.mark.parametrize("readme", ["python", "node"])
def test_the_code_for_a_page_gets_a_token(
    started_driver: Driver, backend: Backend, alice: Alice, readme: str
) -> None:
    """As printed, with Microsoft's credential, from the backend."""
    page = {"page": str(backend.client.base_url).rstrip("/"), "session": alice.session}

    token = started_driver.do("run", code(readme, "tokenRefresher"), page)

    assert token == alice.token()
