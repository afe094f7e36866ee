"""The app in a process of its own, behind the local front end and Functions host."""

import asyncio
import contextlib
import json
import os
import re
import shlex
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from local.azure import ROOT, LocalAzure
from local.servers import stop
from local.workspace import CannotStart

PORT_TAKEN = 4
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
    "WEBSITE_",
)
# A proxy cannot reach this machine's loopback addresses.
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class App:
    """The running app."""

    url: str
    process: Process


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
    with log.open("w") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "local.functions_host"),
            *("--app", str(ROOT), "--port", str(port), "--until-stdin-closes"),
            stdin=PIPE,
            stdout=PIPE,
            stderr=errors,
            start_new_session=True,  # Ctrl-C in a terminal must not reach it: we stop it ourselves
            cwd=ROOT,
            env=_inherited() | azure.settings() | dict(changes) | host,
        )
    try:
        url = await _read_address(process, port, log)
        await _check_settings(url, log)
        yield App(url, process)
    finally:
        await stop(process)


def _pages(log: Path) -> dict[str, str]:
    """The files and folders to serve next to the app, by URL path."""
    landing_page = ROOT / "local" / "front_end" / "landing_page"
    try_it = ROOT / "local" / "front_end" / "try_it"
    swagger_ui = ROOT / "local" / "node_modules" / "swagger-ui-dist"
    pages = {
        f"{LOCAL}page.css": landing_page / "page.css",
        f"{LOCAL}page.js": landing_page / "page.js",
        f"{LOCAL}icon.svg": ROOT / "examples" / "web" / "public" / "icon.svg",
        f"{LOCAL}app.log": log,
        f"{LOCAL}acs.md": ROOT / "local" / "acs" / "README.md",
        EXAMPLE: ROOT / "examples" / "web" / "dist",  # built by `make setup`
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
        if not name.startswith(_NOT_INHERITED) and name.upper() not in _PROXIES
    }


async def _read_address(process: Process, port: int, log: Path) -> str:
    """The address, which the host prints when it is ready."""
    assert process.stdout is not None  # noqa: S101 -- requested above
    line = (await process.stdout.readline()).decode()
    if line.startswith("listening "):
        return line.split()[1]
    if await process.wait() == PORT_TAKEN:
        raise CannotStart(f"Port {port} is in use: choose another with --app-port.")
    raise CannotStart(f"The app does not start: see {log}.")


async def _check_settings(url: str, log: Path) -> None:
    """Stop the start if the app reports invalid settings. It logs each of them."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/api/health") as response:
        if response.ok:
            return
    raise CannotStart(_reason(log))


def _reason(log: Path) -> str:
    found = _INVALID_SETTINGS.search(log.read_text())
    return f"Invalid settings: {found[1]}" if found else f"The app is not healthy: see {log}."
