"""`python -m local`: the local Azure on the command line. See README.md."""

import argparse
import asyncio
import difflib
import os
import signal
import stat
import sys
from collections.abc import Coroutine
from dataclasses import fields
from pathlib import Path
from typing import Any

from local.azure import NOT_LOCAL, ROOT, Ports, setting_names
from local.commands import COMMANDS, Start, fetch_token
from local.entra import ROLES, SIGN_IN_MINUTES
from local.workspace import CannotStart, Workspace

# The exit code that a shell reports for a program stopped by Ctrl-C.
INTERRUPTED = 130
# These commands end by themselves.
_FINITE = ("quickstart", "telemetry")

_OPTIONS = {
    "app": "the app, behind the local Functions host",
    "acs": "the ACS emulator",
    "identity": "the managed identity endpoint",
    "blob": "storage: blobs",
    "queue": "storage: queues",
    "table": "storage: tables",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command. The exit code is 0 on success."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.role and options.app_name is None:
        parser.error("--role needs --app: only applications have roles")
    ports = Ports(**{port.name: getattr(options, f"{port.name}_port") for port in fields(Ports)})
    workspace = Workspace(options.folder)
    try:
        changes, invalid = _settings(options.set)
        if invalid:
            parser.error(f"argument --set: {'; '.join(invalid)}")
        if options.command == "token":
            print(asyncio.run(fetch_token(workspace, *_token_request(options))))
            return 0
        with workspace.locked():
            start = Start(workspace, ports, changes)
            command = COMMANDS[options.command](start)
            return asyncio.run(_run_until_stopped(command))
    except CannotStart as reason:
        print(reason, file=sys.stderr)
        return 1
    except (asyncio.CancelledError, BrokenPipeError):
        # A command that serves was stopped on purpose. A finite one has failed.
        return INTERRUPTED if options.command in _FINITE else 0
    finally:
        _flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument(
        "command",
        nargs="?",
        default="run",
        choices=[*COMMANDS, "token"],
        help="run: everything, with a walkthrough of the quickstart (default). quickstart: only the"
        " walkthrough. acs: only the ACS emulator. azure: everything except the app. telemetry: a"
        " few operations, with their traces and metrics. token: print a bearer token for the"
        " running app, of a signed-in user or an application.",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a setting of the app; can be repeated",
    )
    caller = parser.add_mutually_exclusive_group()
    caller.add_argument("--user", default="alice", help="token: the user (default %(default)s)")
    caller.add_argument(
        "--app", dest="app_name", metavar="NAME", help="token: the application, instead of a user"
    )
    parser.add_argument(
        "--role",
        action="append",
        default=[],
        choices=ROLES,
        help="token: a role of the application; can be repeated",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=SIGN_IN_MINUTES,
        help="token: its lifetime (default %(default)s)",
    )
    for port in fields(Ports):
        parser.add_argument(
            f"--{port.name}-port",
            type=_port,
            default=port.default,
            metavar="PORT",
            help=f"{_OPTIONS[port.name]} (default %(default)s; 0: any free port)",
        )
    parser.add_argument(
        "--folder", type=Path, default=ROOT, help="the folder for .local/ (default: the project)"
    )
    return parser


def _port(text: str) -> int:
    if not (text.isdecimal() and int(text) in range(2**16)):
        raise argparse.ArgumentTypeError(f"{text} is not a port")
    return int(text)


def _settings(texts: list[str]) -> tuple[dict[str, str], list[str]]:
    """Parse each NAME=VALUE. The case of a name does not matter, as in the Functions host.

    Returns the settings, and what is wrong with those that are invalid. The app checks the values.
    """
    settable = setting_names()
    known = {name.lower(): name for name in (*settable, *NOT_LOCAL)}
    settings, invalid = {}, []
    for text in texts:
        name, separator, value = text.partition("=")
        lower = name.strip().lower()
        if not (lower and separator):
            invalid.append(f"{text} does not have the form NAME=VALUE")
        elif known.get(lower) in settable:
            settings[known[lower]] = value
        elif lower in known:
            invalid.append(f"{known[lower]} cannot be set locally: {NOT_LOCAL[known[lower]]}")
        else:
            similar = difflib.get_close_matches(lower, known, 1)
            hint = f"did you mean {known[similar[0]]}?" if similar else "see docs/settings.md"
            invalid.append(f"{name} is not a setting: {hint}")
    return settings, invalid


def _token_request(options: argparse.Namespace) -> tuple[str, dict[str, object]]:
    if options.app_name is None:
        return "sign-in", {"user": options.user, "minutes": options.minutes}
    body = {"app": options.app_name, "roles": options.role, "minutes": options.minutes}
    return "app-token", body


async def _run_until_stopped(command: Coroutine[Any, Any, int]) -> int:
    """Run the command until it ends.

    A signal cancels it, and so does the end of the program that reads its output.
    """
    task = asyncio.create_task(command)
    stops = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # with nohup, the terminal may close
        stops.append(signal.SIGHUP)
    for number in stops:
        asyncio.get_running_loop().add_signal_handler(number, _cancel_once, task)
    if sys.stdout and stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
        # As for asyncio's own pipes: the end for writing is readable when no reader is left.
        asyncio.get_running_loop().add_reader(sys.stdout, _end_output, task)
    return await task


def _cancel_once(task: asyncio.Task[int]) -> None:
    # A second signal must not interrupt the cleanup that the first one started.
    if not task.cancelling():
        task.cancel()


def _end_output(task: asyncio.Task[int]) -> None:
    asyncio.get_running_loop().remove_reader(sys.stdout)
    _cancel_once(task)


def _flush() -> None:
    """Write the rest of the output. If nothing reads it, Python must not fail at its exit."""
    try:
        print(end="", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
