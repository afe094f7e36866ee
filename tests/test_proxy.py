"""An app whose network needs a proxy: HTTPS_PROXY and NO_PROXY, read once, at start."""

import asyncio
import base64
import contextlib
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio
from azure.core.credentials import AzureKeyCredential

from identity_service.acs import AcsDirectory
from identity_service.errors import NotConfigured
from identity_service.proxy import Proxy
from identity_service.registry import TableRegistry
from identity_service.services import Services
from identity_service.settings import NO_PROXY, PROXY, Settings
from local.app import running_app
from local.azure import LocalAzure, Ports, local_azure
from local.workspace import Workspace

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOOD = {
    "COMMUNICATION_SERVICES_ENDPOINT": "https://contoso.communication.azure.com",
    "AzureWebJobsStorage__accountName": "contoso",
    "CLEANUP_SCHEDULE": "0 */5 * * * *",
}
SECRET = "secret-word"
ADDRESS = "http://proxy.example:3128"
IN_FRONT_OF_ALL = {"https": ADDRESS}
# Where the ACS SDK keeps its pipeline.
GENERATED = "_client._identity_service_client._client"


@dataclass
class ConnectProxy:
    """A proxy that knows CONNECT and nothing else.

    Attributes:
        port: Where it listens on loopback.
        user: `name:password` that it wants, if any.
        tunnels: Where it was asked to connect to, each time.
        others: The first lines of all other requests.
    """

    user: str = ""
    port: int = 0
    tunnels: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        """The value of HTTPS_PROXY that leads here."""
        user = f"{self.user}@" if self.user else ""
        return f"http://{user}127.0.0.1:{self.port}"

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """One connection: read the request, then be a pipe."""
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, target, _ = head.split(" ", 2)
            if method != "CONNECT":
                self.others.append(head.splitlines()[0])
                writer.write(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            elif not self._knows(head):
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            else:
                self.tunnels.append(target)
                await self._be_a_pipe(target, reader, writer)

    def _knows(self, head: str) -> bool:
        expected = base64.b64encode(self.user.encode()).decode()
        return not self.user or f"Proxy-Authorization: Basic {expected}\r\n" in head

    async def _be_a_pipe(self, target: str, reader: StreamReader, writer: StreamWriter) -> None:
        host, _, port = target.rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        with contextlib.closing(far_writer):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_pour(reader, far_writer), _pour(far_reader, writer))


async def _pour(reader: StreamReader, writer: StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def proxy(user: str = "") -> AsyncIterator[ConnectProxy]:
    """A proxy that runs."""
    ours = ConnectProxy(user)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.create_task(ours.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    ours.port = server.sockets[0].getsockname()[1]
    try:
        yield ours
    finally:
        server.close()
        await asyncio.gather(*tasks)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def azure(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalAzure]:
    """The local Azure, for all tests of this file."""
    with Workspace(tmp_path_factory.mktemp("proxy")).locked() as workspace:
        async with local_azure(workspace, Ports(0, 0, 0, 0, 0, 0)) as azure:
            yield azure


async def asked(azure: LocalAzure, log: Path, **environ: str) -> tuple[int, Any]:
    """What an app in this environment answers who wants an identity and a token."""
    async with (
        running_app(azure, environ, 0, log) as app,
        aiohttp.ClientSession(headers={"x-functions-key": azure.keys.function_key}) as session,
        session.post(f"{app.url}/api/identities/with-token", json={"scopes": ["chat"]}) as answer,
    ):
        return answer.status, await answer.json()


def hosts(azure: LocalAzure) -> tuple[str, str]:
    """Where ACS and the tables are, as a proxy is told it."""
    return urlsplit(azure.acs.endpoint).netloc, urlsplit(azure.storage.table).netloc


async def test_everything_over_tls_goes_through(azure: LocalAzure, tmp_path: Path) -> None:
    """ACS and the tables are reached through the proxy, and through it only."""
    async with proxy() as ours:
        status, _ = await asked(azure, tmp_path / "log", HTTPS_PROXY=ours.address)

    assert status == 201
    assert set(ours.tunnels) == set(hosts(azure))


async def test_the_lower_case_name(azure: LocalAzure, tmp_path: Path) -> None:
    """https_proxy counts as HTTPS_PROXY does, and a proxy needs no scheme."""
    async with proxy() as ours:
        await asked(azure, tmp_path / "log", https_proxy=f"127.0.0.1:{ours.port}")

    assert set(ours.tunnels) == set(hosts(azure))


async def test_the_identity_endpoint_stays_on_the_machine(
    azure: LocalAzure, tmp_path: Path
) -> None:
    """The secret header goes to no proxy, whatever variables there are for plain http."""
    async with proxy() as ours:
        everything = {"HTTPS_PROXY": ours.address, "HTTP_PROXY": ours.address}
        status, _ = await asked(azure, tmp_path / "log", **everything)

    assert (status, ours.others) == (201, [])
    assert urlsplit(azure.identity_endpoint).netloc not in ours.tunnels


async def test_no_proxy(azure: LocalAzure, tmp_path: Path) -> None:
    """A host that NO_PROXY names is reached directly, another one is not."""
    acs, tables = hosts(azure)
    async with proxy() as ours:
        environ = {"HTTPS_PROXY": ours.address, "NO_PROXY": f"one.example,{acs.split(':')[0]}"}
        status, _ = await asked(azure, tmp_path / "log", **environ)

    assert status == 201
    assert set(ours.tunnels) == {tables}


async def test_a_proxy_that_wants_a_password(azure: LocalAzure, tmp_path: Path) -> None:
    """User and password stand in the address."""
    async with proxy(f"user:{SECRET}") as ours:
        status, _ = await asked(azure, tmp_path / "log", HTTPS_PROXY=ours.address)

    assert status == 201


@pytest.mark.parametrize("word", ["wrong", "", SECRET], ids=["refused", "no password", "gone"])
async def test_a_proxy_that_lets_nobody_through(
    azure: LocalAzure, tmp_path: Path, word: str
) -> None:
    """There is no way around it, the answer comes at once, and no password is in the log."""
    log = tmp_path / "log"
    async with proxy("user:another") as ours:
        port = 9 if word == SECRET else ours.port
        status, problem = await asked(
            azure, log, HTTPS_PROXY=f"http://user:{word}{SECRET}@127.0.0.1:{port}"
        )

    assert (status, problem["code"]) == (503, "acs_unavailable")
    assert SECRET not in log.read_text()


@pytest.mark.parametrize(
    ("url", "bypass", "expected"),
    [
        ("https://one.example", (), IN_FRONT_OF_ALL),
        ("https://one.example", ("two.example",), IN_FRONT_OF_ALL),
        ("https://one.example", ("one.example",), {}),
        ("https://one.example:444", ("one.example",), {}),
        ("https://one.example:444", ("one.example:444",), {}),
        ("https://one.example:444", ("one.example:443",), IN_FRONT_OF_ALL),
        ("https://a.one.example", ("one.example",), {}),
        ("https://bone.example", ("one.example",), IN_FRONT_OF_ALL),
        ("https://One.Example", ("one.example",), {}),
        ("https://one.example", ("*",), {}),
    ],
)
async def test_which_way(url: str, bypass: tuple[str, ...], expected: dict[str, str]) -> None:
    """A host is spared with its subdomains, on the port that was named, or on all of them."""
    assert Proxy(ADDRESS, bypass).towards(url) == expected


async def test_no_proxy_at_all() -> None:
    """Without an address everything is reached directly."""
    assert Proxy().towards("https://one.example") == {}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, Proxy()),
        ({PROXY: "", NO_PROXY: " "}, Proxy()),
        ({PROXY: ADDRESS}, Proxy(ADDRESS)),
        ({PROXY: "proxy.example:3128"}, Proxy(ADDRESS)),
        ({PROXY: "http://wrong.example", PROXY.lower(): ADDRESS}, Proxy(ADDRESS)),
        ({NO_PROXY: " .One.example, two.example ,,"}, Proxy("", ("one.example", "two.example"))),
    ],
)
async def test_settings(environ: dict[str, str], expected: Proxy) -> None:
    """Names and forms as they are used everywhere."""
    assert Settings.from_env({**GOOD, **environ}).proxy == expected


@pytest.mark.parametrize("address", [f"socks5://{SECRET}", f"http://:{SECRET}@", "http://x:port"])
async def test_an_address_that_is_none(address: str) -> None:
    """It is a fault, which does not repeat it: it may hold a password."""
    with pytest.raises(NotConfigured) as caught:
        Settings.from_env({**GOOD, PROXY: address})

    assert PROXY in caught.value.detail
    assert SECRET not in caught.value.detail


async def test_password_stays_out_of_the_representation() -> None:
    """Settings can be printed without it."""
    settings = Settings.from_env({**GOOD, PROXY: f"http://user:{SECRET}@proxy.example"})

    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("AccountName=contoso;AccountKey=a2V5", "https://contoso.table.core.windows.net"),
        (
            "AccountName=contoso;AccountKey=a2V5;EndpointSuffix=core.usgovcloudapi.net",
            "https://contoso.table.core.usgovcloudapi.net",
        ),
        (
            "AccountName=a;AccountKey=a2V5;TableEndpoint=https://tables.example/",
            "https://tables.example/",
        ),
    ],
)
async def test_the_tables_of_a_connection_string(text: str, address: str) -> None:
    """NO_PROXY counts for them too: their address is known however they are named."""
    settings = Settings.from_env({**GOOD, "AzureWebJobsStorage": text})

    assert settings.storage.address == address


async def test_the_environment_is_not_asked_again() -> None:
    """No client looks at the environment by itself, on every request, with a proxy or without."""
    services = Services({**GOOD, PROXY: ADDRESS})
    key = AzureKeyCredential("a2V5")
    clients: list[AcsDirectory | TableRegistry] = [
        services.acs,
        services.registry,
        AcsDirectory.connect("https://one.example", key, IN_FRONT_OF_ALL),
        TableRegistry.from_connection_string("AccountName=a;AccountKey=a2V5", IN_FRONT_OF_ALL),
    ]

    assert [looks_at_the_environment(client) for client in clients] == [False] * 4


def looks_at_the_environment(client: AcsDirectory | TableRegistry) -> bool:
    """Whether the transport would: the SDK does not tell in public."""
    way = "_table._client._client" if isinstance(client, TableRegistry) else GENERATED
    transport: Any = attrgetter(f"{way}._pipeline._transport")(client)
    return bool(transport._use_env_settings)
