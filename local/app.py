"""The app in a process of its own, behind the local front end and Functions host."""

import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import aiohttp

from local.azure import ROOT, SAMPLE, LocalAzure
from local.children import Children
from local.servers import reserve
from local.workspace import CannotStart, remove

# The app's log line, with how to fix each setting.
_INVALID_SETTINGS = re.compile(r' not_configured invalid="([^"]*)"')
EXAMPLE = "/example/"
DOCS = "/docs/"
LOCAL = "/.local/"
# Variables of the caller's shell that could select another resource or credential for the app.
_NOT_INHERITED = (
    "APPLICATIONINSIGHTS_",
    "AZURE_",
    "AzureFunctionsJobHost__",
    "AzureWebJobs",
    "COMMUNICATION_SERVICES_",
    "IDENTITY_",
    "MSI_",
    "OTEL_",
    "PYTHON_APPLICATIONINSIGHTS_",
    "REGISTRY_STORAGE__",
    "WEBSITE_",
)
# Where the Azure CLI keeps its sign-in, for a credential that calls it.
_INHERITED = ("AZURE_CONFIG_DIR",)
# A proxy cannot reach this machine's loopback addresses.
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
# Seconds between two looks at the app's source. A change counts when it has been there twice, so
# that many files that change together cause one restart.
_INTERVAL = 0.5
# Seconds until an app that does not load is given up.
_LOAD_TIMEOUT = 60.0
# Seconds that a replaced process has for its requests: the host gives them 10.
_FINISH_TIMEOUT = 12.0


class App:
    """The app, in a process that is replaced when the source changes.

    All processes serve the same socket, so no request is refused or lost in between.

    Args:
        root: the app's folder.
        environ: the environment, which is read at each start.
        children: they start and stop the processes.
        reserved: the socket.
        log: the file for the app's log.

    Attributes:
        url: where it listens.
    """

    def __init__(
        self,
        root: Path,
        environ: Callable[[], Mapping[str, str]],
        children: Children,
        reserved: socket.socket,
        log: Path,
    ) -> None:
        self.url = f"http://localhost:{reserved.getsockname()[1]}"
        self._root = root
        self._environ = environ
        self._children = children
        self._socket = reserved
        self._log = log
        self._source: dict[Path, tuple[int, int]] = {}
        # The last one is current.
        self._processes: list[Process] = []

    async def start(self) -> None:
        """Start a process, which takes over the socket.

        Raises:
            CannotStart: it does not load the app. The message has what it logged.
        """
        self._source = _read_source(self._root)
        logged = self._log.stat().st_size if self._log.exists() else 0
        process = await self._start_process()
        self._processes.append(process)
        if not await _is_listening(process):
            self._processes.remove(process)
            await self._children.stop(process)
            reason = self._log.read_bytes()[logged:].decode(errors="replace").strip()
            raise CannotStart(f"The app does not load:\n{reason}")

    async def stop(self) -> None:
        """Stop it."""
        for process in self._processes:
            await self._children.stop(process)

    async def end(self) -> str:
        """Wait until the process ends by itself. Returns a message for the user."""
        await self._processes[-1].wait()
        return "The app has stopped unexpectedly: see its log."

    async def check_settings(self) -> None:
        """Ask the app whether its settings are valid. It logs each of them that is not.

        Raises:
            CannotStart: some are invalid.
        """
        health = f"{self.url}/api/health"
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with aiohttp.ClientSession() as session, session.get(health) as response:
                if response.ok:
                    return
        found = _INVALID_SETTINGS.findall(self._log.read_text())
        reason = f"Invalid settings: {found[-1]}" if found else f"Not healthy: see {self._log}."
        raise CannotStart(reason)

    async def follow_changes(self, show: Callable[[str], None]) -> None:
        """Replace the process when the app's source changes. Return when it ends by itself.

        A source that does not load replaces nothing. The user is shown why.
        """
        while await self._changes():
            try:
                await self.start()
            except CannotStart as reason:
                show(f"{reason}\nThe last version keeps serving until this is fixed.")
                continue
            await self._end_replaced()
            show("The source has changed, and the app has restarted.")
            try:
                await self.check_settings()
            except CannotStart as reason:
                show(str(reason))

    async def _changes(self) -> bool:
        """Wait until the source has changed. False if the process ends before that."""
        seen = self._source
        while self._processes[-1].returncode is None:
            await asyncio.sleep(_INTERVAL)
            before, seen = seen, _read_source(self._root)
            if before == seen != self._source:
                return True
        return False

    async def _end_replaced(self) -> None:
        replaced = self._processes[0]
        self._children.send_signal(replaced, signal.SIGQUIT)  # it finishes its requests
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(replaced.wait(), _FINISH_TIMEOUT)
        await self._children.stop(replaced)
        self._processes.remove(replaced)

    async def _start_process(self) -> Process:
        number = self._socket.fileno()
        with self._log.open("a") as log:
            return await self._children.start(
                *(sys.executable, "-m", "local.functions_host"),
                *("--app", str(self._root), "--until-stdin-closes"),
                stdout=PIPE,
                stderr=log,
                cwd=ROOT,
                env={**self._environ(), "LOCAL_HOST_SOCKET": str(number)},
                pass_fds=[number],
            )


async def _is_listening(process: Process) -> bool:
    """Wait until the host prints its address. False if it ends before that, or takes too long."""
    assert process.stdout is not None  # noqa: S101 -- every process is started with it
    try:
        return bool(await asyncio.wait_for(process.stdout.readline(), _LOAD_TIMEOUT))
    except TimeoutError:
        return False


def _read_source(root: Path) -> dict[Path, tuple[int, int]]:
    """The files that an app consists of, with the time of the last change and the size of each."""
    source = {}
    files = (root / name for name in ("function_app.py", "host.json", SAMPLE))
    for path in (*files, *(root / "identity_service").rglob("*.py")):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            source[path] = (status.st_mtime_ns, status.st_size)
    return source


@contextlib.asynccontextmanager
async def running_app(
    azure: LocalAzure, changes: Mapping[str, str], port: int, log: Path
) -> AsyncIterator[App]:
    """Run the app with the settings for this Azure, overridden by `changes`.

    Raises:
        CannotStart: its port is in use, the app does not load, or its settings are invalid.
    """
    host = {
        "LOCAL_HOST_STATIC_FILES": json.dumps(_pages(log)),
        "LOCAL_HOST_LANDING_PAGE": json.dumps(_landing_page(azure, log.parent)),
        "LOCAL_HOST_SIGN_IN": azure.sign_in_endpoint(),
        "LOCAL_HOST_EASY_AUTH": azure.sign_in.easy_auth(),
        "LOCAL_HOST_FUNCTION_KEY": azure.keys.function_key,
        "LOCAL_HOST_MASTER_KEY": azure.keys.master_key,
    }

    def environ() -> dict[str, str]:
        return {**_inherited(), **azure.settings(), **changes, **host}

    remove(log)
    with reserve(port, "--app-port") as reserved:
        app = App(ROOT, environ, azure.children, reserved, log)
        try:
            await app.start()
            await app.check_settings()
            yield app
        finally:
            await app.stop()


def _pages(log: Path) -> dict[str, str]:
    """The files and folders to serve next to the app, by URL path."""
    landing_page = ROOT / "local" / "front_end" / "landing_page"
    try_it = ROOT / "local" / "front_end" / "try_it"
    swagger_ui = ROOT / "local" / "node_modules" / "swagger-ui-dist"
    pages = {
        f"{LOCAL}page.css": landing_page / "page.css",
        f"{LOCAL}page.js": landing_page / "page.js",
        f"{LOCAL}icon.svg": ROOT / "examples" / "web" / "src" / "icon.svg",
        f"{LOCAL}app.log": log,
        f"{LOCAL}acs.md": ROOT / "local" / "acs" / "README.md",
        EXAMPLE: ROOT / "examples" / "web" / "dist",  # built by the installation
        DOCS: try_it / "index.html",
        f"{DOCS}page.js": try_it / "page.js",
        f"{DOCS}page.css": try_it / "page.css",
        f"{DOCS}swagger-ui.css": swagger_ui / "swagger-ui.css",
        f"{DOCS}swagger-ui-bundle.js": swagger_ui / "swagger-ui-bundle.js",
        f"{DOCS}favicon-32x32.png": swagger_ui / "favicon-32x32.png",
        f"{DOCS}openapi.json": ROOT / "openapi.json",
        # The default target of every problem's `type`.
        f"{DOCS}problems.md": ROOT / "docs" / "problems.md",
    }
    return {path: str(place) for path, place in pages.items()}


def _landing_page(azure: LocalAzure, folder: Path) -> dict[str, object]:
    """What the landing page shows. `folder` is `.local/`."""
    return {
        "authentication": _authentication(azure, folder.parent),
        "env": shlex.quote(str(folder / "env")),
        "functionKey": None if azure.services_use_entra else azure.keys.function_key,
        "scopes": azure.token_scopes,
        "places": {
            "ACS emulator": azure.acs.endpoint,
            "Its control endpoint": azure.acs.control_url,
            "Managed identity": azure.identity_endpoint,
            "Blob storage": azure.storage.blob,
            "Queue storage": azure.storage.queue,
            "Table storage": azure.storage.table,
        },
    }


def _authentication(azure: LocalAzure, project: Path) -> str:
    """The header with which a service calls the app, for a shell in any folder."""
    if not azure.services_use_entra:
        return f"'x-functions-key: {azure.keys.function_key}'"
    token = shlex.join(
        [
            *(sys.executable, "-m", "local", "token", "--folder", str(project)),
            *("--app", "my-service", "--role", "Identities.Manage", "--role", "Tokens.Issue"),
        ]
    )
    return f'"Authorization: Bearer $(cd {shlex.quote(str(ROOT))} && {token})"'


def _inherited() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if (name in _INHERITED or not name.startswith(_NOT_INHERITED))
        and name.upper() not in _PROXIES
    }
