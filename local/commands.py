"""The commands of `python -m local`: each runs until it is done, or until it is told to stop."""

import asyncio
import contextlib
import os
import ssl
import sys
from collections.abc import AsyncIterator

import aiohttp

from local.app import EXAMPLE, App, running_app
from local.azure import ROOT, LocalAzure, Ports, local_acs, local_azure
from local.certificates import Authority
from local.entra import Issuer
from local.quickstart import Walk, WrongAnswer
from local.settings_file import settings_file
from local.telemetry import a_short_life, shown, watched_app
from local.workplace import Workplace


async def run(workplace: Workplace, ports: Ports) -> int:
    """Everything, a walk through it, and then serving."""
    async with _everything(workplace, ports) as (azure, app):
        await _walk(azure, app, workplace)
        print(_addresses(azure, app, workplace), flush=True)
        await app.process.wait()
    print("The app ended by itself: its log says why.", file=sys.stderr)
    return 1


async def quickstart(workplace: Workplace, ports: Ports) -> int:
    """The walk alone; 0 when every step was right."""
    async with _everything(workplace, ports) as (azure, app):
        return await _walk(azure, app, workplace)


async def acs(workplace: Workplace, ports: Ports) -> int:
    """The ACS emulator alone."""
    async with local_acs(workplace, ports, Issuer(), Authority()) as running:
        workplace.write_env(running.environment())
        print(f"ACS emulator at {running.endpoint}")
        print(f"connection string: {running.connection_string}")
        print(f"its certificate's authority, for SSL_CERT_FILE: {running.bundle}", flush=True)
        await asyncio.Event().wait()
    return 0


async def azure(workplace: Workplace, ports: Ports) -> int:
    """Everything but the app."""
    async with local_azure(workplace, ports) as azure:
        app_url = f"http://localhost:{ports.app}"
        workplace.write_env(azure.environment(app_url))
        with settings_file(workplace, azure.settings(), ports.app) as said:
            print(f"ACS emulator at {azure.acs.endpoint}")
            print(f"managed identity endpoint at {azure.identity_endpoint}")
            print(f"storage at {azure.storage.table}")
            print(said)
            print(f"shell assignments in {workplace.env_file}", flush=True)
            await asyncio.Event().wait()
    return 0


async def telemetry(workplace: Workplace, ports: Ports) -> int:
    """A few operations with OpenTelemetry on, and what Application Insights got of them."""
    log = workplace.folder / "app-with-telemetry.log"
    async with local_azure(workplace, ports) as azure, watched_app(azure, ports.app, log) as app:
        try:
            await a_short_life(app.url, azure)
        except TimeoutError:
            print(f"Not everything has arrived: see {log}.", file=sys.stderr)
            return 1
        print(shown(azure.insights), flush=True)
    return 0


COMMANDS = {
    "run": run,
    "quickstart": quickstart,
    "acs": acs,
    "azure": azure,
    "telemetry": telemetry,
}


@contextlib.asynccontextmanager
async def _everything(workplace: Workplace, ports: Ports) -> AsyncIterator[tuple[LocalAzure, App]]:
    log = workplace.folder / "app.log"
    async with (
        local_azure(workplace, ports) as azure,
        running_app(azure, {}, ports.app, log) as app,
    ):
        workplace.write_env(azure.environment(app.url))
        yield azure, app


async def _walk(azure: LocalAzure, app: App, workplace: Workplace) -> int:
    """Walk through the app, and for its end through one that keeps deleted identities for no time.

    Both have the same registry: what one deletes the other sweeps.
    """
    impatient = {"DELETED_IDENTITY_RETENTION_DAYS": "0"}
    log = workplace.folder / "app-without-retention.log"
    async with (
        aiohttp.ClientSession(headers={"x-functions-key": azure.keys.master_key}) as session,
        running_app(azure, impatient, 0, log) as second,
    ):
        walk = Walk(session, print)
        sweep = f"{second.url}/admin/functions/purge_deleted_identities"
        control = azure.acs.environment()["ACS_CONTROL_URL"]
        tls = ssl.create_default_context(cafile=azure.acs.bundle)
        try:
            await walk.quickstart(f"{app.url}/api")
            identity_id = await walk.a_users_identity(f"{app.url}/api")
            await walk.the_end(f"{second.url}/api", identity_id, sweep)
            in_acs = f"{control}/identities/{identity_id}"
            await walk.gone_in_acs(in_acs, azure.keys.control_key, tls)
        except (WrongAnswer, TimeoutError) as fault:
            print(f"The walk went wrong: {fault or 'the sweep took too long'}", file=sys.stderr)
            return 1
    return 0


def _addresses(azure: LocalAzure, app: App, workplace: Workplace) -> str:
    return f"""
The app serves at   {app.url}   (its log: {workplace.folder / "app.log"})
An example page     {app.url}{EXAMPLE}   (signed-in users; built by `make setup`)
Try it on a page    {app.url}/docs/
The function key    {azure.keys.function_key}
ACS emulator        {azure.acs.endpoint}
Managed identity    {azure.identity_endpoint}
Storage, tables     {azure.storage.table}
All of it, for sh   . {workplace.env_file}

Try it:
  curl -X POST {app.url}/api/identities/with-token \\
    -H 'x-functions-key: {azure.keys.function_key}' -d '{{"scopes": ["chat", "voip"]}}'

As a signed-in user, without a key:
  curl -X POST -d '' {app.url}/api/me/tokens \\
    -H "Authorization: Bearer $({_token_command(workplace)} --user alice)"

Ctrl-C stops everything."""


def _token_command(workplace: Workplace) -> str:
    command = f"{os.path.relpath(sys.executable)} -m local token"
    return command if workplace.project == ROOT else f"{command} --folder {workplace.project}"
