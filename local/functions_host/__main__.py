"""`python -m local.functions_host`: serves one app, behind the front end, until it is stopped.

It stops as the Azure host stops a worker: at once, without notice to the app. SIGQUIT lets it
finish its requests first, while another process already serves the same socket.

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
from collections.abc import Callable, MutableMapping
from functools import partial
from pathlib import Path
from typing import NoReturn

import uvloop
from msgspec.structs import replace

from local import front_end
from local.functions_host.functions import Functions, load
from local.functions_host.host import Host
from local.functions_host.host_json import HostJson, read_host_json
from local.functions_host.http import Handler, Request, Response
from local.functions_host.indexing import AppError, index
from local.functions_host.invocations import Invoker, configure_tracing, log_to_stderr
from local.functions_host.keys import Keys
from local.functions_host.server import DEFAULT_BODY_LIMIT, PortError, bind, serve
from local.functions_host.timers import Monitor

FUNCTION_KEY = "LOCAL_HOST_FUNCTION_KEY"
MASTER_KEY = "LOCAL_HOST_MASTER_KEY"
TIMERS = "LOCAL_HOST_TIMERS"
# A socket that this process takes over from another one.
_SOCKET = "LOCAL_HOST_SOCKET"
BODY_LIMIT = "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"
APP_FAILED = 3
PORT_TAKEN = 4
# Seconds that the requests in flight have after SIGQUIT: the app's deadline.
_FINISH = 10.0
# Seconds until the responses in flight are sent.
_FLUSH = 0.2
_STDIN, _STDOUT, _STDERR = range(3)


def main() -> int:
    """Run the command line. Returns only if the app cannot be served."""
    options = _parser().parse_args()
    restart = partial(_restart, Path.cwd(), dict(os.environ))
    keys, layers = _take_keys(os.environ), _take_layers(os.environ)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    if options.until_stdin_closes:
        threading.Thread(target=_stop_with_stdin, daemon=True).start()
    try:
        bound = _take_socket(os.environ) or bind(options.port)
        # Standard output carries only the address: what the app prints goes to the log.
        with contextlib.redirect_stdout(sys.stderr):
            # As Azure's worker for Python 3.13 and newer. Source: start_worker.py of
            # Azure/azure-functions-python-worker.
            return uvloop.run(_run(options.app.resolve(), keys, layers, bound, restart))
    except PortError as error:
        print(f"cannot use port {options.port}: {error}", file=sys.stderr)
        return PORT_TAKEN


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


def _take_socket(environ: MutableMapping[str, str]) -> socket.socket | None:
    number = environ.pop(_SOCKET, "")
    return socket.socket(fileno=int(number)) if number else None


def _restart(folder: Path, environ: dict[str, str], bound: socket.socket) -> NoReturn:
    """Replace this process by a new one that serves the same socket."""
    bound.set_inheritable(True)
    os.dup2(_STDERR, _STDOUT)  # the address was printed before
    os.chdir(folder)
    os.execve(sys.executable, sys.orig_argv, environ | {_SOCKET: str(bound.fileno())})  # noqa: S606 -- ourselves


async def _run(
    app: Path,
    keys: Keys,
    layers: list[front_end.Layer],
    bound: socket.socket,
    restart: Callable[[socket.socket], NoReturn],
) -> int:
    log_to_stderr()
    tracing = configure_tracing(os.environ)
    folder = os.environ.pop(TIMERS, "")
    loaded = _load(app)
    if loaded is None:
        return APP_FAILED
    functions, host_json = loaded

    def restart_soon() -> None:
        """Leave new connections to the next process, and restart when all responses are sent."""
        server.close()
        asyncio.get_running_loop().call_later(_FLUSH, restart, bound)

    invoker = Invoker(tracing, host_json.timeout, restart_soon)
    monitor = Monitor(Path(folder) if folder else None)
    host = Host(functions, keys, host_json, os.environ, invoker, monitor)
    requests = _Requests(front_end.through(layers, host.respond))
    limit = int(os.environ.get(BODY_LIMIT, DEFAULT_BODY_LIMIT))
    # A copy, so that the next process can listen after this one has closed it.
    server = await serve(bound.dup(), requests.respond, limit)
    host.start()
    asyncio.get_running_loop().add_signal_handler(signal.SIGQUIT, requests.finish, server)
    print(f"listening http://localhost:{bound.getsockname()[1]}", file=sys.__stdout__, flush=True)
    await asyncio.Event().wait()
    return 0


class _Requests:
    """The requests in flight, which can end before the process does."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._count = 0
        self._none = asyncio.Event()
        self._end: asyncio.Task[None] | None = None

    async def respond(self, request: Request) -> Response:
        """Respond. If the end is near, the client must open another connection."""
        self._count += 1
        self._none.clear()
        try:
            response = await self._handler(request)
        finally:
            self._count -= 1
            if not self._count:
                self._none.set()
        if self._end:
            return replace(response, headers=(*response.headers, ("Connection", "close")))
        return response

    def finish(self, server: asyncio.Server) -> None:
        """Leave new connections to another process, and end when all responses are sent."""
        server.close()
        self._end = self._end or asyncio.create_task(self._finish())

    async def _finish(self) -> NoReturn:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FINISH):
                await asyncio.sleep(_FLUSH)
                while self._count:
                    await self._none.wait()
                    await asyncio.sleep(_FLUSH)
        os._exit(0)


def _load(app: Path) -> tuple[Functions, HostJson] | None:
    try:
        _enter(app)
        host_json = read_host_json(app)
        return load(index(), host_json.route_prefix, os.environ), host_json
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
