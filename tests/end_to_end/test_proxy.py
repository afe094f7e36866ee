"""An app whose network needs a proxy: HTTPS_PROXY and NO_PROXY."""

import asyncio
import base64
import contextlib
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from tests.support.client import CHAT
from tests.support.fixtures import StartApp
from tests.support.stack import Azure

SECRET = "secret-word"
TUNNEL = b"HTTP/1.1 200 Connection established\r\n\r\n"
REFUSAL = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"


@dataclass
class Proxy:
    """A proxy that only supports CONNECT.

    Attributes:
        user: The `name:password` that it requires, if any.
        port: Its port on loopback.
        requests: The method and the target of each request that it has accepted.
    """

    user: str = ""
    port: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)

    @property
    def hosts(self) -> set[str]:
        """The hosts that were reached through the proxy."""
        assert {method for method, _ in self.requests} <= {"CONNECT"}
        return {target for _, target in self.requests}

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve one connection."""
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            if not self._accepts(head):
                writer.write(REFUSAL)
                return
            method, target, _ = head.split(" ", 2)
            self.requests.append((method, target))
            host, _, port = target.rpartition(":")
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
            with contextlib.closing(far_writer):
                writer.write(TUNNEL)
                await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    def _accepts(self, head: str) -> bool:
        expected = base64.b64encode(self.user.encode()).decode()
        return not self.user or f"Proxy-Authorization: Basic {expected}\r\n" in head


async def _copy(reader: StreamReader, writer: StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def running_proxy(user: str = "") -> AsyncIterator[Proxy]:
    """A running proxy."""
    proxy = Proxy(user)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()


def upstreams(azure: Azure) -> tuple[str, str]:
    """Host and port of ACS and of the tables."""
    names = ("COMMUNICATION_SERVICES_ENDPOINT", "AzureWebJobsStorage__tableServiceUri")
    acs, tables = (urlsplit(azure.settings[name]).netloc for name in names)
    return acs, tables


async def test_everything_over_tls_uses_the_proxy(azure: Azure, start_app: StartApp) -> None:
    """ACS and the tables are reached through it, with the user and the password of its URL.

    The identity endpoint, which gets a secret header over plain http, is reached directly.
    """
    async with running_proxy(f"user:{SECRET}") as proxy:
        url = f"http://user:{SECRET}@127.0.0.1:{proxy.port}"
        api = start_app(HTTPS_PROXY=url, HTTP_PROXY=url)
        api.app.secrets.add(SECRET)
        (await api.post("identities/with-token", CHAT)).assert_success(201)

    assert proxy.hosts == set(upstreams(azure))


async def test_no_proxy(azure: Azure, start_app: StartApp) -> None:
    """A host in NO_PROXY is reached directly, others are not."""
    acs, tables = upstreams(azure)
    async with running_proxy() as proxy:
        api = start_app(
            HTTPS_PROXY=f"http://127.0.0.1:{proxy.port}",
            NO_PROXY=f"one.example,{acs.partition(':')[0]}",
        )
        (await api.post("identities/with-token", CHAT)).assert_success(201)

    assert proxy.hosts == {tables}


@pytest.mark.parametrize("case", ["wrong password", "no proxy there"])
async def test_proxy_that_does_not_work(start_app: StartApp, case: str) -> None:
    """There is no way around it: the call fails at once, and no password is in the log."""
    async with running_proxy("user:another") as proxy:
        port = proxy.port if case == "wrong password" else 9
        api = start_app(HTTPS_PROXY=f"http://user:{SECRET}@127.0.0.1:{port}")
        api.app.secrets.add(SECRET)
        # A new worker reads the registry first.
        (await api.post("identities/with-token", CHAT)).assert_problem(503, "registry_unavailable")

    assert proxy.hosts == set()
