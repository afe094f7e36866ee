"""Somebody who follows the page at a shell, and the app that is theirs."""

import asyncio
import json
import os
import re
import shutil
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

from tests.end_to_end.client import Api
from tests.end_to_end.stack import PATIENCE, ROOT, App, Azure, running_app
from tests.runbooks.page import OPENING

TOOLS = ("bash", "curl", "jq")
TABLES = "AzureWebJobsStorage__tableServiceUri"

# Every curl says on standard error how it was answered.
_CURLRC = 'silent\nshow-error\nwrite-out = "%{stderr}status=%{http_code}\\n"\n'
# A runbook that goes well goes well at every step.
_STRICT = "set -euo pipefail\n"
_PREAMBLE = """az() { (cd "$ROOT" && "$PYTHON" -m tests.runbooks.az "$@"); }
"""


def tool(name: str) -> str:
    """Where the program is.

    Raises:
        FileNotFoundError: it is missing; the message says how to get it.
    """
    found = shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is missing: apt-get install -y {name}")
    return found


@dataclass(frozen=True)
class Outcome:
    """What came of a command.

    Attributes:
        statuses: How each curl in it was answered, in their order.
        output: What it printed.
    """

    statuses: list[int]
    output: str

    def json(self) -> Any:
        """The output, read as JSON."""
        return json.loads(self.output)


class Operator:
    """Runs the page's commands; the app restarts when they change its settings.

    Args:
        folder: Theirs alone.
        app: The app that they look after; without it they start one with these settings.

    Attributes:
        api: The app's operations, as it runs now.
    """

    def __init__(
        self,
        folder: Path,
        session: aiohttp.ClientSession,
        azure: Azure,
        app: App | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._session = session
        self._azure = azure
        self._running = ExitStack()
        self._settings_file = folder / "settings.json"
        self._settings_file.write_text(json.dumps(settings or {}))
        (folder / ".curlrc").write_text(_CURLRC)
        self.api = Api(session, app) if app else self._start()

    async def runs(self, command: str, **words: str) -> Outcome:
        """Run it as it stands, with these words in place of those in capitals."""
        before = self._settings
        outcome = await self._at_a_shell(_STRICT + _PREAMBLE + OPENING + _filled(command, words))
        if self._settings != before:
            await self._restart()
        return outcome

    async def types(self, command: str) -> Outcome:
        """Run it as at a prompt, where the next line runs whatever came of the one before."""
        return await self._at_a_shell(_PREAMBLE + OPENING + command)

    async def _at_a_shell(self, script: str) -> Outcome:
        process = await asyncio.create_subprocess_exec(
            tool("bash"),
            "-c",
            script.replace("https://APP.azurewebsites.net", self.api.app.url),
            cwd=self._folder,
            env=self._environment(),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(PATIENCE):
                output, errors = (each.decode() for each in await process.communicate())
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        assert process.returncode == 0, errors + output
        statuses = re.findall(r"^status=(\d+)$", errors, re.MULTILINE)
        return Outcome([int(status) for status in statuses], output)

    async def sets(self, **settings: str) -> None:
        """Change settings where the page gives no command, and so restart the app."""
        self._settings_file.write_text(json.dumps({**self._settings, **settings}))
        await self._restart()

    @property
    def _settings(self) -> dict[str, str]:
        settings: dict[str, str] = json.loads(self._settings_file.read_text())
        return settings

    async def _restart(self) -> None:
        """As the platform does: the new one serves before the old one ends."""
        with self._running.pop_all():
            self.api = await asyncio.to_thread(self._start)

    def _start(self) -> Api:
        settings = self._settings
        folder = self._folder / f"app-{len(list(self._folder.glob('app-*')))}"
        folder.mkdir()
        app = self._running.enter_context(running_app(self._azure, folder, settings))
        keys = (value for name, value in settings.items() if name.startswith("COMMUNICATION_"))
        app.secrets.update(filter(None, (key.rpartition("accesskey=")[2] for key in keys)))
        return Api(self._session, app)

    def _environment(self) -> dict[str, str]:
        tables = {**self._azure.settings, **self._settings}[TABLES]
        return {
            **self._azure.env,
            "PATH": os.environ["PATH"],
            "CURL_HOME": str(self._folder),
            "APP_SETTINGS": str(self._settings_file),
            "TABLES": tables,
            "ROOT": str(ROOT),
            "PYTHON": sys.executable,
        }

    def __enter__(self) -> "Operator":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._running.close()


def _filled(command: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        assert re.search(rf"\b{word}\b", command), f"{word} does not stand in {command}"
        command = re.sub(rf"\b{word}\b", lambda _, value=value: value, command)  # type: ignore[misc]  # a lambda's default is untyped
    return command
