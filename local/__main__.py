"""`python -m local`: the local Azure on the command line. See README.md."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Coroutine
from dataclasses import fields
from pathlib import Path
from typing import Any

from local.azure import ROOT, Ports
from local.commands import COMMANDS
from local.sign_in import LIFETIME_MINUTES
from local.token_command import fetch_token
from local.workplace import CannotStart, Workplace

# As a shell counts a program that Ctrl-C ended.
INTERRUPTED = 130
# The commands that end by themselves.
_ENDS = ("quickstart", "telemetry")

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
    workplace = Workplace(options.folder)
    try:
        if options.command == "token":
            print(asyncio.run(fetch_token(workplace, options.user, options.minutes)))
            return 0
        with workplace.held():
            command = COMMANDS[options.command](workplace, ports)
            return asyncio.run(_until_told(command, options.command in _ENDS))
    except CannotStart as reason:
        print(reason, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument(
        "command",
        nargs="?",
        default="run",
        choices=[*COMMANDS, "token"],
        help="run: everything, with a walk through the quickstart (default). quickstart: the walk"
        " alone. acs: the ACS emulator alone. azure: everything but the app. telemetry: a few"
        " operations, and the traces and metrics of them. token: print the bearer token of a"
        " signed-in user, for the app that runs.",
    )
    parser.add_argument("--user", default="alice", help="token: whose (default %(default)s)")
    parser.add_argument(
        "--minutes",
        type=float,
        default=LIFETIME_MINUTES,
        help="token: how long it lives (default %(default)s)",
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
