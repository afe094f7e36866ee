"""`python -m local.functions_host`: serves one app, behind the front end, until it is stopped.

It stops as the Azure host stops a worker: at once, without notice to the app.

Exit codes: 0 stopped, 2 invalid options, 3 the app cannot be served, 4 the port cannot be used.
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

from local import front_end
from local.functions_host.functions import Functions, load, route_prefix
from local.functions_host.host import Host, Keys
from local.functions_host.http import DEFAULT_BODY_LIMIT, listen, serve
from local.functions_host.indexing import AppError, index
from local.functions_host.invocations import configure_tracing, log_to_stderr

FUNCTION_KEY = "LOCAL_HOST_FUNCTION_KEY"
MASTER_KEY = "LOCAL_HOST_MASTER_KEY"
BODY_LIMIT = "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"
APP_FAILED = 3
PORT_TAKEN = 4
_STDIN = 0


def main() -> int:
    """Run the command line. Returns only if the app cannot be served."""
    options = _parser().parse_args()
    keys, layers = _take_keys(os.environ), _take_layers(os.environ)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    if options.until_stdin_closes:
        threading.Thread(target=_stop_with_stdin, daemon=True).start()
    try:
        listener = listen(options.port)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        print(f"cannot use port {options.port}: {reason}", file=sys.stderr)
        return PORT_TAKEN
    # Standard output carries only the address: what the app prints goes to the log.
    with contextlib.redirect_stdout(sys.stderr):
        return asyncio.run(_run(options.app.resolve(), keys, layers, listener))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m local.functions_host",
        description="Serves an Azure Functions app (Python v2 model) on 127.0.0.1.",
        epilog=f"Environment: the keys in {FUNCTION_KEY} and {MASTER_KEY}; the configuration of"
        f" the front end in {', '.join(front_end.VARIABLES)}.",
    )
    parser.add_argument("--port", type=_port, default=7071, help="0 selects a free port")
    parser.add_argument("--app", type=Path, default=Path(), help="the app's folder")
    parser.add_argument(
        "--until-stdin-closes",
        action="store_true",
        help="stop when standard input closes, so that the host stops with its parent process",
    )
    return parser


def _port(text: str) -> int:
    port = int(text)
    if port not in range(2**16):
        raise argparse.ArgumentTypeError(f"{text} is not a port")
    return port


def _take_keys(environ: MutableMapping[str, str]) -> Keys:
    function, master = environ.pop(FUNCTION_KEY, ""), environ.pop(MASTER_KEY, "")
    if not (function and master):
        _parser().error(f"{FUNCTION_KEY} and {MASTER_KEY} must be set")
    return Keys(function, master)


def _take_layers(environ: MutableMapping[str, str]) -> list[front_end.Layer]:
    try:
        return front_end.take_layers(environ)
    except ValueError as error:
        _parser().error(str(error))


def _stop_with_stdin() -> NoReturn:
    # In a thread, so that it works even while the app blocks the event loop.
    with contextlib.suppress(OSError):
        while os.read(_STDIN, 4096):
            pass
    os._exit(0)


async def _run(
    app: Path, keys: Keys, layers: list[front_end.Layer], listener: socket.socket
) -> int:
    log_to_stderr()
    tracing = configure_tracing(os.environ)
    functions = _load(app)
    if functions is None:
        return APP_FAILED
    host = Host(functions, keys, tracing)
    host.start()
    handler = front_end.through(layers, host.respond)
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
    except (Exception, SystemExit):  # noqa: BLE001 -- an app can raise anything when it is imported
        traceback.print_exc()
    return None


def _enter(app: Path) -> None:
    """Make `app` the last place for imports, after the packages, as in the worker."""
    ours = (Path.cwd(), Path(__file__).resolve().parents[2], app)
    others = [path for path in sys.path if Path(path).resolve() not in ours]
    sys.path[:] = [*others, str(app)]
    os.chdir(app)


if __name__ == "__main__":
    code = main()
    # A normal exit would wait for threads that the app has started.
    sys.stderr.flush()
    os._exit(code)
