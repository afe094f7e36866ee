"""Loopback servers on ports that may be taken."""

import contextlib
import errno
import socket
import ssl
from collections.abc import AsyncIterator

from aiohttp import web

from local.workplace import CannotStart

HOST = "127.0.0.1"


def listen(port: int, option: str) -> socket.socket:
    """A listening socket on loopback; port 0 takes a free one.

    Raises:
        CannotStart: the port is taken; the message names the option that changes it.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno != errno.EADDRINUSE:
            raise
        raise CannotStart(f"Port {port} is taken: choose another with {option}.") from None
    return listener


@contextlib.asynccontextmanager
async def serving(
    application: web.Application, listener: socket.socket, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve the application on the socket; yields the port."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.SockSite(runner, listener, ssl_context=tls).start()
        yield listener.getsockname()[1]
    finally:
        await runner.cleanup()
