"""Loopback servers: on ports that may be taken, and able to be out of reach for a while."""

import asyncio
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


class Served:
    """An application that is being served.

    Attributes:
        port: Where, on loopback.
    """

    def __init__(
        self, runner: web.AppRunner, listener: socket.socket, tls: ssl.SSLContext | None
    ) -> None:
        self._runner = runner
        self._tls = tls
        self.port: int = listener.getsockname()[1]
        self._site = web.SockSite(runner, listener, ssl_context=tls)
        self._outage: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Accept connections."""
        await self._site.start()

    def be_out(self, seconds: float) -> None:
        """Refuse connections for so long, and cut those there are."""
        self._outage = asyncio.create_task(self._be_out(seconds))

    async def _be_out(self, seconds: float) -> None:
        await self._site.stop()
        server = self._runner.server
        for connection in server.connections if server else []:
            if connection.transport:
                connection.transport.abort()
        await asyncio.sleep(seconds)
        listener = listen(self.port, "another port")
        self._site = web.SockSite(self._runner, listener, ssl_context=self._tls)
        await self._site.start()


@contextlib.asynccontextmanager
async def serving(
    application: web.Application, listener: socket.socket, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Served]:
    """Serve the application on the socket."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        served = Served(runner, listener, tls)
        await served.start()
        yield served
    finally:
        await runner.cleanup()
