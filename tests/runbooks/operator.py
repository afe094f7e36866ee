"""Runs the commands of the page in a shell, and restarts the app when they change its settings."""

import asyncio
import json
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.runbooks.page import OPENING
from tests.support.client import Client
from tests.support.stack import PATIENCE, ROOT, App, Azure, running_app
from tools.setup.programs import program

# The settings that have a key of ACS.
WITH_KEY = ("COMMUNICATION_SERVICES_ACCESSKEY", "COMMUNICATION_SERVICES_CONNECTION_STRING")
TABLES = "AzureWebJobsStorage__tableServiceUri"
REGISTRY = "REGISTRY_STORAGE__tableServiceUri"

# Every step of a runbook must succeed.
_STRICT = "set -euo pipefail\n"
_PREAMBLE = """az() { (cd "$ROOT" && "$PYTHON" -m tests.runbooks.az "$@"); }
"""


@dataclass(frozen=True)
class Outcome:
    """The result of a command.

    Attributes:
        output: The standard output.
    """

    output: str

    def json(self) -> Any:
        """Decodes the output."""
        return json.loads(self.output)


class Operator:
    """Runs commands against an app.

    Args:
        folder: A folder of this operator.
        app: The app. Without it, the operator starts one with these settings.

    Attributes:
        api: A service that calls the app that is running now.
        folder: The folder in which the commands run.
    """

    def __init__(
        self,
        folder: Path,
        session: aiohttp.ClientSession,
        azure: Azure,
        app: App | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self._session = session
        self._azure = azure
        self._running = ExitStack()
        self._settings_file = folder / "settings.json"
        self._settings_file.write_text(json.dumps(settings or {}))
        self.api = Client(session, app) if app else self._start()

    async def run(self, command: str, exit_code: int = 0, **words: str) -> Outcome:
        """Runs a command in which these words in capitals are replaced."""
        before = self._settings
        script = _STRICT + _PREAMBLE + OPENING + _filled(command, words)
        outcome = await self._shell(script, exit_code)
        if self._settings != before:
            await self._restart()
        return outcome

    async def _shell(self, script: str, exit_code: int) -> Outcome:
        process = await asyncio.create_subprocess_exec(
            program("bash"),
            "-c",
            script.replace("https://APP.azurewebsites.net", self.api.app.url),
            cwd=self.folder,
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
        assert process.returncode == exit_code, errors + output
        return Outcome(output)

    async def change_settings(self, **settings: str) -> None:
        """Changes settings for which the page has no command, and restarts the app."""
        self._settings_file.write_text(json.dumps({**self._settings, **settings}))
        await self._restart()

    @property
    def _settings(self) -> dict[str, str]:
        settings: dict[str, str] = json.loads(self._settings_file.read_text())
        return settings

    async def _restart(self) -> None:
        """Starts the new app before the old one ends, as the platform does."""
        with self._running.pop_all():
            self.api = await asyncio.to_thread(self._start)

    def _start(self) -> Client:
        settings = self._settings
        folder = self.folder / f"app-{len(list(self.folder.glob('app-*')))}"
        folder.mkdir()
        app = self._running.enter_context(running_app(self._azure, folder, settings))
        keys = (settings.get(name, "") for name in WITH_KEY)
        app.secrets.update(filter(None, (key.rpartition("accesskey=")[2] for key in keys)))
        return Client(self._session, app)

    def _environment(self) -> dict[str, str]:
        return {
            **self._azure.env,
            # `make setup` installs acsid next to Python.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "APP_SETTINGS": str(self._settings_file),
            "FOLDER": str(self.folder),
            "TABLES": {**self._azure.settings, **self._settings}[TABLES],
            "ROOT": str(ROOT),
            "PYTHON": sys.executable,
        }

    def close(self) -> None:
        """Ends the app that this operator started."""
        self._running.close()


def _filled(command: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        assert re.search(rf"\b{word}\b", command), f"{word} is not in {command}"
        command = re.sub(rf"\b{word}\b", value.replace("\\", "\\\\"), command)
    return command
