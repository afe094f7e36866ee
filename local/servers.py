"""What every local server needs: a port, TLS and outages."""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import certifi
import trustme
from aiohttp import web

from local.workspace import CannotStart

HOST = "127.0.0.1"
_END_OF_CERTIFICATE = b"-----END CERTIFICATE-----\n"


class Authority:
    """A certificate authority, with one certificate for localhost that every local server uses.

    It lives as long as the local Azure. Its key is never written to disk.
    """

    def __init__(self) -> None:
        self._authority = trustme.CA(organization_name="Azure on loopback")
        self._localhost = self._authority.issue_cert("localhost", "127.0.0.1", "::1")

    def server_context(self) -> ssl.SSLContext:
        """The TLS context for an aiohttp server on localhost."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._localhost.configure_cert(context)
        return context

    def write_bundle(self, path: Path) -> None:
        """Write this CA and the machine's own roots to a file, as a value for SSL_CERT_FILE."""
        path.write_bytes(self._authority.cert_pem.bytes() + _machine_roots(path))

    def write_server_files(self, certificate: Path, key: Path) -> None:
        """Write localhost's certificate and key, for a server that reads them from files."""
        certificate.write_bytes(b"".join(part.bytes() for part in self._localhost.cert_chain_pems))
        key.touch(mode=0o600)
        key.write_bytes(self._localhost.private_key_pem.bytes())


def _machine_roots(bundle: Path) -> bytes:
    """The roots that this machine trusts.

    A shell that has read `.local/env` names the bundle of an earlier start, with that start's CA
    before the roots.
    """
    paths = ssl.get_default_verify_paths()
    candidates = (
        os.environ.get(paths.openssl_cafile_env),
        paths.openssl_cafile,
        # Debian's OpenSSL has only a folder, with all roots in this file.
        f"{paths.openssl_capath}/ca-certificates.crt",
        certifi.where(),
    )
    found = next(Path(path) for path in candidates if path and Path(path).is_file())
    roots = found.read_bytes()
    if bundle.exists() and bundle.samefile(found):
        roots = roots.partition(_END_OF_CERTIFICATE)[2]
    return b"\n" + roots


def check_ports(ports: Mapping[str, int]) -> None:
    """Check that each port is free, and that no two are the same.

    Args:
        ports: by the option that changes the port.

    Raises:
        CannotStart: the message has one line for each port that cannot be used.
    """
    unusable = []
    with contextlib.ExitStack() as listeners:
        for option, port in ports.items():
            try:
                listeners.enter_context(listen(port, option))
            except CannotStart as reason:
                unusable.append(str(reason))
    if unusable:
        raise CannotStart("\n".join(unusable))


def listen(port: int, option: str) -> socket.socket:
    """A listening socket on loopback. Port 0 selects a free port.

    Raises:
        CannotStart: the port cannot be used; the message names the option that changes it.
    """
    listener = reserve(port, option)
    try:
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise _unusable(port, option, error) from None
    return listener


def reserve(port: int, option: str) -> socket.socket:
    """A socket that has a port on loopback and still refuses connections. Port 0: a free port.

    Raises:
        CannotStart: the port cannot be used; the message names the option that changes it.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        reserved.bind((HOST, port))
    except OSError as error:
        reserved.close()
        raise _unusable(port, option, error) from None
    return reserved


def _unusable(port: int, option: str, error: OSError) -> CannotStart:
    why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
    return CannotStart(f"Port {port} {why}: choose another with {option}.")


class Served:
    """An application that is being served.

    Attributes:
        port: the port on loopback.
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

    def begin_outage(self, seconds: float) -> None:
        """Close all connections and refuse new ones for this time."""
        self._outage = asyncio.create_task(self._run_outage(seconds))

    async def _run_outage(self, seconds: float) -> None:
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
