"""`python -m local.functions_host`: serves one app until it is told to end.

It ends as the host ends a worker in Azure: at once, without notice to the app.

Exit codes: 0 when told to end, 2 for wrong options, 3 when the app cannot be served, 4 when the
port cannot be had.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import MutableMapping
from pathlib import Path
from typing import NoReturn

from local.functions_host import front_end, logs, telemetry
from local.functions_host.errors import AppError
from local.functions_host.functions import Functions, load
from local.functions_host.host import Host
from local.functions_host.host_json import route_prefix
from local.functions_host.indexing import index
from local.functions_host.keys import Keys
from local.functions_host.pipeline import Layer, through
from local.functions_host.server import DEFAULT_BODY_LIMIT, serve, take_port

FUNCTION_KEY = "LOCAL_HOST_FUNCTION_KEY"
MASTER_KEY = "LOCAL_HOST_MASTER_KEY"
BODY_LIMIT = "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"
APP_FAILED = 3
PORT_TAKEN = 4
_STDIN = 0


def main() -> int:
    """Run the command line; returns only when the app cannot be served."""
    options = _parser().parse_args()
    keys, layers = _take_keys(os.environ), _take_layers(os.environ)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    if options.until_stdin_closes:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        listener = take_port(options.port)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        print(f"port {options.port} cannot be had: {reason}", file=sys.stderr)
        return PORT_TAKEN
    # Standard output tells the address and nothing else: what the app prints goes to the log.
    with contextlib.redirect_stdout(sys.stderr):
        return asyncio.run(_run(options.app.resolve(), keys, layers, listener))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m local.functions_host",
        description="Serves an Azure Functions app (Python v2 model) on 127.0.0.1.",
        epilog=f"The keys come in the environment: {FUNCTION_KEY}, {MASTER_KEY}; and so does what"
        f" the platform does in front of the app: {front_end.CORS_ORIGINS}, {front_end.EASY_AUTH};"
        f" and what pages beside it need: {front_end.STATIC_FILES}, {front_end.SIGN_IN}.",
    )
    parser.add_argument("--port", type=_port, default=7071, help="0 takes a free one")
    parser.add_argument("--app", type=Path, default=Path(), help="the app's folder")
    parser.add_argument(
        "--until-stdin-closes",
        action="store_true",
        help="end when standard input does, and so with the process at its other end",
    )
    return parser


def _port(text: str) -> int:
    port = int(text)
    if port not in range(2**16):
        raise argparse.ArgumentTypeError(f"{text} is no port")
    return port


def _take_keys(environ: MutableMapping[str, str]) -> Keys:
    function, master = environ.pop(FUNCTION_KEY, ""), environ.pop(MASTER_KEY, "")
    if not (function and master):
        _parser().error(f"{FUNCTION_KEY} and {MASTER_KEY} have to be set")
    return Keys(function, master)


def _take_layers(environ: MutableMapping[str, str]) -> list[Layer]:
    try:
        return front_end.take_layers(environ)
    except ValueError as error:
        _parser().error(str(error))


def _end_with_stdin() -> NoReturn:
    # A thread of its own, so that it also works while the app blocks the event loop.
    with contextlib.suppress(OSError):
        while os.read(_STDIN, 4096):
            pass
    os._exit(0)


async def _run(app: Path, keys: Keys, layers: list[Layer], listener: socket.socket) -> int:
    logs.to_stderr()
    tracing = telemetry.configured(os.environ)
    functions = _load(app)
    if functions is None:
        return APP_FAILED
    host = Host(functions, keys, tracing)
    await host.start()
    handler = through(layers, host.answer)
    await serve(listener, handler, int(os.environ.get(BODY_LIMIT, DEFAULT_BODY_LIMIT)))
    address = f"http://localhost:{listener.getsockname()[1]}"
    print(f"listening {address}", file=sys.__stdout__, flush=True)
    await asyncio.Event().wait()
    return 0


def _load(app: Path) -> Functions | None:
    try:
        _enter(app)
        return load(index(), route_prefix(app), os.environ)
    except AppError as error:
        print(error, file=sys.stderr)
    except (Exception, SystemExit):  # noqa: BLE001 -- an app may raise anything when it is imported
        traceback.print_exc()
    return None


def _enter(app: Path) -> None:
    """Make `app` the last place for imports, as in the worker: packages come before it."""
    ours = (Path.cwd(), Path(__file__).resolve().parents[2], app)
    others = [path for path in sys.path if Path(path).resolve() not in ours]
    sys.path[:] = [*others, str(app)]
    os.chdir(app)


if __name__ == "__main__":
    code = main()
    # Threads that the app has started would keep a normal exit waiting.
    sys.stderr.flush()
    os._exit(code)
