"""The commands of `python -m local`. Each runs until it is done or stopped."""

import asyncio
import contextlib
import json
import os
import shlex
import ssl
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from local.app import DOCS, EXAMPLE, App, running_app
from local.azure import ROOT, LocalAzure, Ports, local_acs, local_azure
from local.entra import Issuer
from local.quickstart import UnexpectedResponse, Walkthrough
from local.servers import Authority, check_ports
from local.telemetry import app_with_telemetry, report, run_operations
from local.workspace import CannotStart, Workspace


@dataclass(frozen=True)
class Start:
    """What the command line says about a start.

    Attributes:
        changes: settings of the app that differ from the sample.
    """

    workspace: Workspace
    ports: Ports
    changes: Mapping[str, str]

    def azure(self) -> AbstractAsyncContextManager[LocalAzure]:
        """Every part except the app."""
        return local_azure(self.workspace, self.ports, self.changes)

    def check_ports(self, *without: str) -> None:
        """Check the ports of all parts, except those that do not start.

        Raises:
            CannotStart: some cannot be used.
        """
        names = {name: port for name, port in asdict(self.ports).items() if name not in without}
        check_ports({f"--{name}-port": port for name, port in names.items()})


async def run(start: Start) -> int:
    """Start everything, walk through it, and serve."""
    async with _everything(start) as (azure, app):
        serving = _serve(azure, app, start.workspace)
        return await _unless_ended(serving, _follow(app), azure.storage.end())


async def _serve(azure: LocalAzure, app: App, workspace: Workspace) -> int:
    if azure.uses_emulator:
        if await _walk_through(azure, app, workspace):
            print("The app keeps running.", file=sys.stderr)
    else:
        print("The walkthrough is skipped: it would create identities in your ACS resource.")
    print(_addresses(azure, app, workspace), flush=True)
    return await asyncio.Event().wait()


async def _follow(app: App) -> str:
    await app.follow_changes(_show)
    return await app.end()


def _show(message: str) -> None:
    print(message, flush=True)


async def quickstart(start: Start) -> int:
    """Start everything and walk through it. The exit code is 0 if no step fails."""
    async with _everything(start) as (azure, app):
        _require_emulator(azure)
        walkthrough = _walk_through(azure, app, start.workspace)
        return await _unless_ended(walkthrough, app.end(), azure.storage.end())


async def acs(start: Start) -> int:
    """Start only the ACS emulator.

    Raises:
        CannotStart: there is no app whose settings could be changed.
    """
    if start.changes:
        raise CannotStart("--set changes a setting of the app, which `acs` does not start.")
    start.check_ports("app", "identity", "blob", "queue", "table")
    async with local_acs(start.workspace, start.ports, Issuer(), Authority()) as running:
        start.workspace.write_env(running.environment())
        print(f"ACS emulator at {running.endpoint}")
        print(f"connection string: {running.connection_string}")
        print(f"shell variables: . {shlex.quote(str(start.workspace.env_file))}")
        variables = ", ".join(running.trust)
        print(f"its certificate authority, for {variables}: {running.bundle}", flush=True)
        await asyncio.Event().wait()
    return 0


async def azure(start: Start) -> int:
    """Start everything except the app. It starts for a moment if its settings have to be checked.

    Raises:
        CannotStart: some settings are invalid.
    """
    workspace, port = start.workspace, start.ports.app
    start.check_ports("app")
    async with start.azure() as azure:
        if start.changes:
            async with running_app(azure, {}, 0, workspace.folder / "app.log"):
                pass
        workspace.write_env(azure.environment(f"http://localhost:{port}"))
        with workspace.settings_file(azure.settings(), port) as message:
            print(f"ACS emulator at {azure.acs.endpoint}")
            print(f"managed identity endpoint at {azure.identity_endpoint}")
            print(f"storage at {azure.storage.table}")
            print(message)
            print(f"shell assignments: . {shlex.quote(str(workspace.env_file))}", flush=True)
            return await _unless_ended(asyncio.Event().wait(), azure.storage.end())


async def telemetry(start: Start) -> int:
    """Run a few operations with OpenTelemetry enabled, and show the telemetry."""
    log = start.workspace.folder / "app-with-telemetry.log"
    start.check_ports()
    async with (
        start.azure() as azure,
        app_with_telemetry(azure, start.ports.app, log) as app,
    ):
        _require_emulator(azure)
        try:
            await run_operations(app.url, azure)
        except TimeoutError:
            print(f"Some telemetry has not arrived: see {log}.", file=sys.stderr)
            return 1
        print(report(azure.insights), flush=True)
    return 0


COMMANDS = {
    "run": run,
    "quickstart": quickstart,
    "acs": acs,
    "azure": azure,
    "telemetry": telemetry,
}


async def fetch_token(workspace: Workspace, kind: str, request: Mapping[str, object]) -> str:
    """Get a bearer token from the running local Azure, the only holder of the signing key.

    Args:
        workspace: its folder.
        kind: `sign-in` for a user, `app-token` for an application.
        request: whose token, and its lifetime.

    Raises:
        CannotStart: no local Azure is running in the folder, or it rejects the request.
    """
    not_running = CannotStart(
        f"No local Azure is running in {workspace.project}: start one with `make run`."
    )
    env = workspace.read_env()
    try:
        return await _request_token(env, kind, request)
    except (aiohttp.ClientError, OSError, LookupError, ValueError):  # no server, or a damaged `env`
        raise not_running from None


async def _request_token(env: Mapping[str, str], kind: str, request: Mapping[str, object]) -> str:
    address = f"{env['ACS_CONTROL_URL']}/{kind}"
    headers = {"x-acs-control-key": env["ACS_CONTROL_KEY"]}
    tls = ssl.create_default_context(cafile=env["SSL_CERT_FILE"])
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(address, json=request, ssl=tls) as response,
    ):
        document = await response.json()
    if response.ok:
        return str(document["token"])
    if response.status == HTTPStatus.NOT_FOUND:
        raise CannotStart("The ACS emulator alone has no sign-in: stop it, then start `make run`.")
    raise CannotStart(f"The request was rejected: {document['error']['message']}.")


@contextlib.asynccontextmanager
async def _everything(start: Start) -> AsyncIterator[tuple[LocalAzure, App]]:
    log = start.workspace.folder / "app.log"
    start.check_ports()
    async with (
        start.azure() as azure,
        running_app(azure, {}, start.ports.app, log) as app,
    ):
        start.workspace.write_env(azure.environment(app.url))
        yield azure, app


async def _unless_ended(work: Coroutine[Any, Any, int], *ends: Coroutine[Any, Any, str]) -> int:
    """Do the work and return its exit code. If a part ends before, say so and cancel the work."""
    working, parts = asyncio.create_task(work), [asyncio.create_task(end) for end in ends]
    try:
        await asyncio.wait([working, *parts], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        print(next(part for part in parts if part.done()).result(), file=sys.stderr)
        return 1
    finally:
        for task in (working, *parts):
            task.cancel()
        await asyncio.gather(working, *parts, return_exceptions=True)


def _require_emulator(azure: LocalAzure) -> None:
    if not azure.uses_emulator:
        raise CannotStart("This command creates identities, so it uses the ACS emulator only.")


async def _walk_through(azure: LocalAzure, app: App, workspace: Workspace) -> int:
    """Walk through the app. The purge runs in a second app that retains nothing.

    Both apps have the same registry, so the second one sweeps what the first one deletes.
    """
    without_retention = {"DELETED_IDENTITY_RETENTION_DAYS": "0"}
    log = workspace.folder / "app-without-retention.log"
    async with (
        aiohttp.ClientSession(headers=azure.service_headers()) as session,
        running_app(azure, without_retention, 0, log) as second,
    ):
        walkthrough = Walkthrough(session, print, azure.token_scopes)
        sweep = f"{second.url}/admin/functions/purge_deleted_identities"
        tls = ssl.create_default_context(cafile=azure.acs.bundle)
        try:
            await walkthrough.quickstart(f"{app.url}/api")
            identity_id = await walkthrough.restore(f"{app.url}/api")
            if azure.holds_purges:
                print("\nThe purge is left out, because PURGE_HOLD is true.")
                return 0
            master = azure.master_headers()
            await walkthrough.purge(f"{second.url}/api", identity_id, sweep, master)
            in_acs = f"{azure.acs.control_url}/identities/{identity_id}"
            await walkthrough.check_acs(in_acs, azure.keys.control_key, tls)
        except (UnexpectedResponse, aiohttp.ClientError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            print(f"The walkthrough failed at {walkthrough.step}: {reason}", file=sys.stderr)
            if azure.changes:
                names = ", ".join(azure.changes)
                print(f"It does not work with every setting. You set: {names}.", file=sys.stderr)
            return 1
    return 0


def _addresses(azure: LocalAzure, app: App, workspace: Workspace) -> str:
    token = _token_command(workspace)
    if azure.services_use_entra:
        key = ""
        roles = "--role Identities.Manage --role Tokens.Issue"
        authentication = f'"Authorization: Bearer $({token} --app my-service {roles})"'
        operator = f'ACSID_TOKEN="$({token} --app operator --role Identities.Read)"'
    else:
        key = f"Function key        {azure.keys.function_key}\n"
        authentication = f"'x-functions-key: {azure.keys.function_key}'"
        operator = f"ACSID_KEY={azure.keys.function_key}"
    return f"""
App                 {app.url}   (log: {workspace.folder / "app.log"})
Example page        {app.url}{EXAMPLE}   (for signed-in users)
Try it on a page    {app.url}{DOCS}
{key}ACS emulator        {azure.acs.endpoint}
Managed identity    {azure.identity_endpoint}
Storage, tables     {azure.storage.table}
Shell variables     . {shlex.quote(str(workspace.env_file))}

Try it:
  curl -X POST {app.url}/api/identities/with-token \\
    -H {authentication} -d '{json.dumps({"scopes": azure.token_scopes})}'

As a signed-in user, without a key:
  curl -X POST -d '' {app.url}/api/me/tokens \\
    -H "Authorization: Bearer $({token} --user alice)"

As an operator, with the command line:
  ACSID_URL={app.url} {operator} {_program("acsid")} list

A change of the app's source restarts it. Ctrl-C stops everything."""


def _program(name: str) -> str:
    """The path of a program beside Python, quoted for `sh`."""
    return shlex.quote(os.path.relpath(Path(sys.executable).with_name(name)))


def _token_command(workspace: Workspace) -> str:
    command = f"{_program(Path(sys.executable).name)} -m local token"
    folder = shlex.quote(str(workspace.project))
    return command if workspace.project == ROOT else f"{command} --folder {folder}"
