"""`python -m local`: the local Azure on the command line. See README.md."""

import argparse
import asyncio
import contextlib
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Coroutine
from dataclasses import fields
from pathlib import Path
from typing import Any

import aiohttp

from local.app import App, running_app
from local.azure import ROOT, LocalAzure, Ports, local_acs, local_azure
from local.certificates import Authority
from local.entra import Issuer
from local.quickstart import Walk, WrongAnswer
from local.settings_file import settings_file
from local.workplace import CannotStart, Workplace

# As a shell counts a program that Ctrl-C ended.
INTERRUPTED = 130

_OPTIONS = {
    "app": "the app, behind the Functions host stand-in",
    "acs": "the ACS emulator",
    "identity": "the managed identity endpoint",
    "blob": "storage: blobs",
    "queue": "storage: queues",
    "table": "storage: tables",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; its exit code is 0 when all went well."""
    options = _parser().parse_args(arguments)
    ports = Ports(**{port.name: getattr(options, f"{port.name}_port") for port in fields(Ports)})
    try:
        with Workplace(options.folder).held() as workplace:
            command = _COMMANDS[options.command](workplace, ports)
            return asyncio.run(_until_told(command, options.command == "quickstart"))
    except CannotStart as reason:
        print(reason, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument(
        "command",
        nargs="?",
        default="run",
        choices=_COMMANDS,
        help="run: everything, with a walk through the quickstart (default). quickstart: the walk"
        " alone. acs: the ACS emulator alone. azure: everything but the app.",
    )
    for port in fields(Ports):
        parser.add_argument(
            f"--{port.name}-port",
            type=int,
            default=port.default,
            metavar="PORT",
            help=f"{_OPTIONS[port.name]} (default %(default)s; 0: any free one)",
        )
    parser.add_argument(
        "--folder", type=Path, default=ROOT, help="where .local/ lives (default: the project)"
    )
    return parser


async def _run(workplace: Workplace, ports: Ports) -> int:
    async with _everything(workplace, ports) as (azure, app):
        await _walk(azure, app, workplace)
        print(_addresses(azure, app, workplace), flush=True)
        await app.process.wait()
    print("The app ended by itself: its log says why.", file=sys.stderr)
    return 1


async def _quickstart(workplace: Workplace, ports: Ports) -> int:
    async with _everything(workplace, ports) as (azure, app):
        return await _walk(azure, app, workplace)


async def _acs(workplace: Workplace, ports: Ports) -> int:
    async with local_acs(workplace, ports, Issuer(), Authority()) as acs:
        workplace.write_env(acs.environment())
        print(f"ACS emulator at {acs.endpoint}")
        print(f"connection string: {acs.connection_string}")
        print(f"its certificate's authority, for SSL_CERT_FILE: {acs.bundle}", flush=True)
        await asyncio.Event().wait()
    return 0


async def _azure(workplace: Workplace, ports: Ports) -> int:
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


_COMMANDS = {"run": _run, "quickstart": _quickstart, "acs": _acs, "azure": _azure}


@contextlib.asynccontextmanager
async def _everything(workplace: Workplace, ports: Ports) -> AsyncIterator[tuple[LocalAzure, App]]:
    log = workplace.folder / "app.log"
    async with (
        local_azure(workplace, ports) as azure,
        running_app(azure.settings(), azure.keys, ports.app, log) as app,
    ):
        workplace.write_env(azure.environment(app.url))
        yield azure, app


async def _walk(azure: LocalAzure, app: App, workplace: Workplace) -> int:
    """Walk through the app, and for its end through one that keeps deleted identities for no time.

    Both have the same registry: what one deletes the other sweeps.
    """
    impatient = azure.settings() | {"DELETED_IDENTITY_RETENTION_DAYS": "0"}
    log = workplace.folder / "app-without-retention.log"
    async with (
        aiohttp.ClientSession(headers={"x-functions-key": azure.keys.master_key}) as session,
        running_app(impatient, azure.keys, 0, log) as second,
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
The function key    {azure.keys.function_key}
ACS emulator        {azure.acs.endpoint}
Managed identity    {azure.identity_endpoint}
Storage, tables     {azure.storage.table}
All of it, for sh   . {workplace.env_file}

Try it:
  curl -X POST {app.url}/api/identities/with-token \\
    -H 'x-functions-key: {azure.keys.function_key}' -d '{{"scopes": ["chat", "voip"]}}'

Ctrl-C stops everything."""


async def _until_told(command: Coroutine[Any, Any, int], must_end: bool) -> int:
    """Run the command until it ends, or until Ctrl-C or SIGTERM ends it with all that it started.

    A command that serves is meant to be told; one that must end by itself has failed then.
    """
    task = asyncio.create_task(command)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, _cancel_once, task)
    try:
        return await task
    except asyncio.CancelledError:
        return INTERRUPTED if must_end else 0


def _cancel_once(task: asyncio.Task[int]) -> None:
    # A second signal must not cut short what the first one is cleaning up.
    if not task.cancelling():
        task.cancel()


if __name__ == "__main__":
    sys.exit(main())
