"""Each failure of ACS or of the table service logs its cause once, without a secret.

The adapters call real servers with the real SDKs.
"""

import asyncio
import base64
import gc
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer
from azure.core.exceptions import (
    AzureError,
    ServiceRequestTimeoutError,
    ServiceResponseTimeoutError,
)

from identity_service.azure.acs import AcsClient
from identity_service.azure.acs_calls import ACS_SCOPE
from identity_service.azure.acs_teams import AcsTeamsAssignments
from identity_service.azure.credential import Credential
from identity_service.azure.failures import Kind, describe
from identity_service.azure.registries import TableRegistry
from identity_service.azure.row_reader import STORAGE_SCOPE
from identity_service.errors import AcsRefusedUs, AcsUnavailable, RegistryUnavailable, ServiceError
from identity_service.identity import Identity, State, UserRow
from identity_service.log import restrain_libraries
from identity_service.policies import TokenGrant
from identity_service.teams_access import Assignment
from tests.azure.test_credential import FakeSource
from tests.support.acs_transport import IDENTITY
from tests.support.virtual_time import START

GRANT = TokenGrant(("chat",), 60)
PASSWORD = "pass-w0rd"
KEY = base64.b64encode(b"secret-account-key").decode()
USER = "alice@contoso.example"
ROW = Identity.create(IDENTITY, USER, START).with_etag("version")
USER_ROW = UserRow(user_id=USER, identity_id=IDENTITY, etag="version")
# In a line of the log each of these would be a leak. `secret-` is the beginning of all tokens.
SECRETS = (PASSWORD, "pass%2Dw0rd", KEY, "secret-", USER)


@dataclass
class Endpoint:
    """Where an adapter connects to."""

    url: str
    proxy: str = ""

    @property
    def host(self) -> str:
        """The host and the port."""
        return self.url.partition("://")[2]


T = TypeVar("T")
Start = Callable[[AsyncExitStack], Awaitable[Endpoint]]


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@asynccontextmanager
async def raw_server(response: bytes) -> AsyncIterator[int]:
    """A server that sends these bytes after the first request, and closes the connection."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(respond, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def unknown_name(_: AsyncExitStack) -> Endpoint:
    """The name of the host does not exist."""
    return Endpoint("https://no-such-host.invalid")


async def refused(_: AsyncExitStack) -> Endpoint:
    """Nothing listens at the port."""
    return Endpoint(f"https://127.0.0.1:{free_port()}")


async def untrusted(servers: AsyncExitStack) -> Endpoint:
    """The certificate has an unknown issuer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    server = TestServer(web.Application(), scheme="https")
    await server.start_server(ssl=context)
    servers.push_async_callback(server.close)
    return Endpoint(f"https://localhost:{server.port}")


async def no_tls(servers: AsyncExitStack) -> Endpoint:
    """The server speaks HTTP without TLS."""
    server = await servers.enter_async_context(TestServer(web.Application()))
    return Endpoint(f"https://127.0.0.1:{server.port}")


def proxy_at(port: int, host: str = "127.0.0.1") -> Endpoint:
    """An endpoint behind a proxy that requires a password."""
    return Endpoint("https://contoso.invalid", f"http://user:{PASSWORD}@{host}:{port}")


async def proxy_down(_: AsyncExitStack) -> Endpoint:
    """Nothing listens at the port of the proxy."""
    return proxy_at(free_port())


async def proxy_unknown(_: AsyncExitStack) -> Endpoint:
    """The name of the proxy does not exist."""
    return proxy_at(3128, "no-such-proxy.invalid")


async def proxy_refuses(servers: AsyncExitStack) -> Endpoint:
    """The proxy does not accept the password."""
    response = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    return proxy_at(await servers.enter_async_context(raw_server(response)))


async def proxy_closes(servers: AsyncExitStack) -> Endpoint:
    """The proxy closes the connection."""
    return proxy_at(await servers.enter_async_context(raw_server(b"")))


async def proxy_cannot_connect(servers: AsyncExitStack) -> Endpoint:
    """The proxy cannot reach the endpoint."""
    response = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
    return proxy_at(await servers.enter_async_context(raw_server(response)))


UNREACHABLE: dict[str, tuple[Start, Kind, str]] = {
    "unknown name": (unknown_name, "dns", "Cannot connect to host no-such-host.invalid:443"),
    "refused": (refused, "connect", "Connect call failed"),
    "untrusted certificate": (untrusted, "tls", "CERTIFICATE_VERIFY_FAILED"),
    "http behind https": (no_tls, "tls", "SSL"),
    "proxy is down": (proxy_down, "proxy", "Connect call failed"),
    "unknown proxy": (proxy_unknown, "proxy", "Cannot connect to host no-such-proxy.invalid:3128"),
    "proxy refuses": (proxy_refuses, "proxy", "407"),
    "proxy closes": (proxy_closes, "connect", "Server disconnected"),
    "proxy cannot connect": (proxy_cannot_connect, "proxy", "502"),
}

# What another service may send: status, body, content type.
WRONG_SERVICES: dict[str, tuple[int, str, str]] = {
    "HTML 200": (200, "<html>Welcome</html>", "text/html"),
    "HTML 201": (201, "<html>Welcome</html>", "text/html"),
    "HTML 202": (202, "<html>Welcome</html>", "text/html"),
    "HTML 302": (302, "", "text/html"),
    "HTML 400": (400, "<html>Bad</html>", "text/html"),
    "HTML 403": (403, "<html>Blocked</html>", "text/html"),
    "HTML 404": (404, "<html>Not found</html>", "text/html"),
    "HTML 405": (405, "<html>No</html>", "text/html"),
    "HTML 409": (409, "<html>Conflict</html>", "text/html"),
    "HTML 412": (412, "<html>Changed</html>", "text/html"),
    "HTML 500": (500, "<html>Oops</html>", "text/html"),
    "HTML 503": (503, "<html>Down</html>", "text/html"),
    "text 200": (200, "It works!", "text/plain"),
    "object 200": (200, '{"hello": 1}', "application/json"),
    "object 201": (201, '{"hello": 1}', "application/json"),
    "list 200": (200, "[1]", "application/json"),
    "list 404": (404, "[1]", "application/json"),
    "null 200": (200, "null", "application/json"),
    "truncated 200": (200, '{"a":', "application/json"),
    "nothing 200": (200, "", "application/json"),
    "other error 404": (404, '{"error": {"code": "NotFound", "message": "?"}}', "application/json"),
    "other error 400": (400, '{"error": {"code": "Bad", "message": "?"}}', "application/json"),
    "other error 409": (409, '{"code": "Conflict", "message": "?"}', "application/json"),
    "error is text": (404, '{"odata.error": "?", "error": "?"}', "application/json"),
    "error is null": (400, '{"odata.error": null, "error": null}', "application/json"),
    "XML 404": (404, "<?xml version='1.0'?><Error><Code>Gone</Code></Error>", "application/xml"),
}

each_unreachable = pytest.mark.parametrize(
    ("start", "kind", "reason"), list(UNREACHABLE.values()), ids=list(UNREACHABLE)
)
each_wrong_service = pytest.mark.parametrize(
    "response", list(WRONG_SERVICES.values()), ids=list(WRONG_SERVICES)
)

ACS_CALLS: dict[str, Callable[[AcsClient], Awaitable[object]]] = {
    "create": lambda acs: acs.create(),
    "create_with_token": lambda acs: acs.create_with_token(GRANT),
    "issue_token": lambda acs: acs.issue_token(IDENTITY, GRANT),
    "revoke_tokens": lambda acs: acs.revoke_tokens(IDENTITY),
    "delete": lambda acs: acs.delete(IDENTITY),
    "exchange_teams_token": lambda acs: acs.exchange_teams_token("secret-", IDENTITY, IDENTITY),
}


TENANT, OBJECT, APP = (f"00000000-0000-0000-0000-{number:012}" for number in range(3))
NEVER = datetime.max.replace(tzinfo=UTC)
ASSIGNMENT_CALLS: dict[str, Callable[[AcsTeamsAssignments], Awaitable[object]]] = {
    "put": lambda teams: teams.put(TENANT, OBJECT, Assignment("user", (APP,)), not_after=NEVER),
    "get": lambda teams: teams.get(TENANT, OBJECT),
    "delete": lambda teams: teams.delete(TENANT, OBJECT, not_after=NEVER),
}


async def due(registry: TableRegistry) -> object:
    """All due entries."""
    return [entry async for entry in registry.due_entries()]


REGISTRY_CALLS: dict[str, Callable[[TableRegistry], Awaitable[object]]] = {
    "read": lambda registry: registry.read(IDENTITY),
    "insert": lambda registry: registry.insert(ROW),
    "read_user": lambda registry: registry.read_user(USER),
    "insert_user": lambda registry: registry.insert_user(USER, IDENTITY),
    "update": lambda registry: registry.update(ROW, ROW.finish_creation()),
    "remove": lambda registry: registry.remove(ROW),
    "replace_user": lambda registry: registry.replace_user(USER_ROW, IDENTITY),
    "remove_user": lambda registry: registry.remove_user(USER_ROW),
    "due_entries": due,
    "list_identities": lambda registry: registry.list_identities([State.ACTIVE], None, 10),
}


@pytest.fixture
async def servers() -> AsyncIterator[AsyncExitStack]:
    """The servers of a test."""
    async with AsyncExitStack() as running:
        yield running


@pytest.fixture(autouse=True)
def _restrained(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Libraries log as in the app, and every level is captured."""
    create = logging.getLogRecordFactory()
    caplog.set_level(logging.DEBUG)
    restrain_libraries()
    yield
    logging.setLogRecordFactory(create)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged as a warning or an error. No record has a secret, whoever logged it."""
    gc.collect()
    everything = caplog.text + repr([vars(record) for record in caplog.records])
    assert [secret for secret in SECRETS if secret in everything] == []
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def error_of(call: Awaitable[object]) -> ServiceError:
    """The error that the call raises."""
    with pytest.raises(ServiceError) as caught:
        await call
    return caught.value


async def outcomes(
    adapter: T,
    calls: dict[str, Callable[[T], Awaitable[object]]],
    caplog: pytest.LogCaptureFixture,
) -> tuple[dict[str, object], list[str]]:
    """For each call: the type and the kind of its error. And the lines, of which each has one."""
    errors: dict[str, object] = {}
    logged = []
    for name, call in calls.items():
        error = await error_of(call(adapter))
        errors[name] = type(error), error.kind
        [line] = lines(caplog)
        logged.append(line)
        caplog.clear()
    return errors, logged


def acs_at(endpoint: Endpoint) -> AcsClient:
    """The adapter as the app connects it. Without TLS it needs a key."""
    return AcsClient.connect(endpoint.url, way_into(endpoint), endpoint.proxy)


def teams_at(endpoint: Endpoint) -> AcsTeamsAssignments:
    """The adapter as the app connects it. Without TLS it needs a key."""
    return AcsTeamsAssignments.connect(endpoint.url, way_into(endpoint), endpoint.proxy)


def way_into(endpoint: Endpoint) -> Credential | str:
    """A credential, or a key."""
    return Credential(FakeSource()) if endpoint.url.startswith("https") else KEY


def registry_at(endpoint: Endpoint) -> TableRegistry:
    """The adapter as the app connects it. Without TLS it needs a key."""
    if endpoint.url.startswith("https"):
        return TableRegistry.connect(endpoint.url, Credential(FakeSource()), endpoint.proxy)
    return TableRegistry.from_connection_string(
        f"AccountName=local;AccountKey={KEY};TableEndpoint={endpoint.url}", endpoint.proxy
    )


# No connection


class Upstream(NamedTuple):
    """One of the adapters, and what its failures look like."""

    connect: Callable[[Endpoint], Any]
    calls: dict[str, Callable[[Any], Awaitable[object]]]
    error: type[ServiceError]
    event: str


UPSTREAMS = [
    Upstream(acs_at, ACS_CALLS, AcsUnavailable, "acs_unavailable"),
    Upstream(teams_at, ASSIGNMENT_CALLS, AcsUnavailable, "acs_unavailable"),
    # One of its calls asks all partitions.
    Upstream(registry_at, REGISTRY_CALLS, RegistryUnavailable, "registry_unavailable"),
]


@pytest.mark.parametrize("upstream", UPSTREAMS, ids=["acs", "teams", "registry"])
@each_unreachable
async def test_unreachable(  # noqa: PLR0913, PLR0917 -- two of them are fixtures
    servers: AsyncExitStack,
    caplog: pytest.LogCaptureFixture,
    start: Start,
    kind: Kind,
    reason: str,
    upstream: Upstream,
) -> None:
    """One line of each call has host, kind and reason. The error has the kind."""
    endpoint = await start(servers)
    adapter = upstream.connect(endpoint)
    errors, logged = await outcomes(adapter, upstream.calls, caplog)
    await adapter.close()

    assert errors == dict.fromkeys(upstream.calls, (upstream.error, kind))
    for line in logged:
        assert line.startswith(f'{upstream.event} host={endpoint.host} kind={kind} reason="')
        assert reason in line


# Another service


class WrongService:
    """A server that is neither ACS nor a table service."""

    def __init__(self, status: int, body: str, kind: str, *, has_table: bool = False) -> None:
        self._response = {"status": status, "text": body, "content_type": kind}
        self._has_table = has_table

    async def respond(self, request: web.Request) -> web.Response:
        """Send the same response to each request."""
        await request.read()
        if self._has_table and request.path.endswith("/Tables"):
            return web.json_response({"TableName": "registry"}, status=201)
        return web.Response(**self._response)  # type: ignore[arg-type]  # as in `__init__`

    async def start(self, servers: AsyncExitStack) -> Endpoint:
        """Start it without TLS."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self.respond)
        server = await servers.enter_async_context(TestServer(application))
        return Endpoint(f"http://127.0.0.1:{server.port}")


@pytest.mark.parametrize(
    ("upstream", "has_table"),
    [*((upstream, False) for upstream in UPSTREAMS), (UPSTREAMS[-1], True)],
    ids=["acs", "teams", "registry", "registry, later"],
)
@each_wrong_service
async def test_wrong_service(
    servers: AsyncExitStack,
    caplog: pytest.LogCaptureFixture,
    response: tuple[int, str, str],
    upstream: Upstream,
    has_table: bool,
) -> None:
    """A response of another service is no missing identity, assignment or row, and no refusal."""
    endpoint = await WrongService(*response, has_table=has_table).start(servers)
    adapter = upstream.connect(endpoint)
    errors, logged = await outcomes(adapter, upstream.calls, caplog)
    await adapter.close()

    assert errors == dict.fromkeys(upstream.calls, (upstream.error, "status"))
    for line in logged:
        assert line.startswith(f'{upstream.event} host={endpoint.host} kind=status reason="')


@pytest.mark.parametrize(
    ("status", "body"), [(401, ""), (401, "Denied"), (403, "Denied")], ids=["bare", "401", "403"]
)
async def test_refusal_is_one_line(
    servers: AsyncExitStack, caplog: pytest.LogCaptureFixture, status: int, body: str
) -> None:
    """A refusal of our own credential is not an outage, and is logged once with its remedy."""
    error = {"code": body, "message": {"value": "No."}}
    text = json.dumps({"error": error, "odata.error": error}) if body else ""
    endpoint = await WrongService(status, text, "application/json").start(servers)
    acs, registry = acs_at(endpoint), registry_at(endpoint)
    of_acs = await error_of(acs.create())
    of_registry = await error_of(due(registry))
    await acs.close()
    await registry.close()

    assert (type(of_acs), type(of_registry)) == (AcsRefusedUs, RegistryUnavailable)
    assert [line.partition(" code")[0] for line in lines(caplog)] == [
        f"acs_refused_us host={endpoint.host} status={status}",
        f"registry_refused_us host={endpoint.host} status={status}",
    ]
    assert (of_acs.kind, of_registry.kind) == ("status", "status")


STATUSES: list[tuple[int, Kind]] = [(407, "proxy"), (408, "timeout"), (504, "timeout")]


@pytest.mark.parametrize(("status", "kind"), STATUSES)
async def test_kind_of_a_status(
    servers: AsyncExitStack, caplog: pytest.LogCaptureFixture, status: int, kind: Kind
) -> None:
    """A proxy that refuses without TLS, and timeouts that a server reports, have their own kind."""
    endpoint = await WrongService(status, "<html>", "text/html").start(servers)
    acs, registry = acs_at(endpoint), registry_at(endpoint)
    kinds = (await error_of(acs.create())).kind, (await error_of(due(registry))).kind
    await acs.close()
    await registry.close()

    assert kinds == (kind, kind)
    assert len(lines(caplog)) == 2


async def test_reason_of_a_status(
    servers: AsyncExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    """The reason has the status, its text, the type of the body, and the service's own code."""
    endpoint = await WrongService(*WRONG_SERVICES["other error 404"]).start(servers)
    acs = acs_at(endpoint)
    await error_of(acs.issue_token(IDENTITY, GRANT))
    await acs.close()

    [line] = lines(caplog)
    assert line.endswith('reason="404 Not Found, application/json; charset=utf-8, NotFound"')


# Broken and silent connections


@pytest.mark.parametrize(
    "response",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", b"garbage\r\n\r\n"],
    ids=["before the response", "within the body", "not HTTP"],
)
async def test_dropped_connection(
    servers: AsyncExitStack, caplog: pytest.LogCaptureFixture, response: bytes
) -> None:
    """A connection that breaks before or within the response is one line."""
    port = await servers.enter_async_context(raw_server(response))
    endpoint = Endpoint(f"http://127.0.0.1:{port}")
    acs, registry = acs_at(endpoint), registry_at(endpoint)
    for call in (acs.create(), registry.read(IDENTITY)):
        assert (await error_of(call)).kind == "connect"
        assert len(lines(caplog)) == 1
        caplog.clear()
    await acs.close()
    await registry.close()


@pytest.mark.parametrize("name", ["issue_token", "create"])
def test_silent_acs(
    virtual_time: asyncio.Runner, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """A connection without a response is one line of the kind timeout."""

    async def scenario() -> str | None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            acs = acs_at(Endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}"))
            error = await error_of(ACS_CALLS[name](acs))
            await acs.close()
            return error.kind

    assert virtual_time.run(scenario()) == "timeout"
    [line] = lines(caplog)
    assert " kind=timeout " in line


@pytest.mark.parametrize("name", REGISTRY_CALLS)
def test_silent_table_service(
    virtual_time: asyncio.Runner, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """The same holds for a read of all partitions, and nothing is left for asyncio to log."""

    async def scenario() -> str | None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            registry = registry_at(Endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}"))
            error = await error_of(REGISTRY_CALLS[name](registry))
            await asyncio.sleep(60)
            await registry.close()
            return error.kind

    assert virtual_time.run(scenario()) == "timeout"
    [line] = lines(caplog)
    assert " kind=timeout " in line


def test_creation_of_the_table_that_fails_late(
    virtual_time: asyncio.Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """If no call waits for it any more, asyncio does not log its error."""

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            registry = registry_at(Endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}"))
            reading = asyncio.create_task(registry.read(IDENTITY))
            await asyncio.sleep(0.1)
            reading.cancel()
            await asyncio.sleep(60)
            await registry.close()

    virtual_time.run(scenario())

    assert lines(caplog) == []


# The credential


def test_slow_credential_is_not_blamed_on_others(
    virtual_time: asyncio.Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """While the credential does not respond, ten calls log its failure once, and nothing else."""

    async def scenario() -> list[ServiceError]:
        source = FakeSource()
        source.delay = 3600
        endpoint = "https://contoso.invalid"
        acs = AcsClient.connect(endpoint, Credential(source))
        errors = await asyncio.gather(
            *(error_of(acs.issue_token(IDENTITY, GRANT)) for _ in range(10))
        )
        registry = TableRegistry.connect(endpoint, Credential(source))
        errors += await asyncio.gather(*(error_of(registry.read(IDENTITY)) for _ in range(10)))
        await acs.close()
        await registry.close()
        return errors

    errors = virtual_time.run(scenario())

    assert {error.kind for error in errors} == {"credential"}
    assert [line.partition(" reason")[0] for line in lines(caplog)] == [
        f"credential_unavailable scope={scope}" for scope in (ACS_SCOPE, STORAGE_SCOPE)
    ]


def test_credential_without_an_end_of_its_own(
    virtual_time: asyncio.Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """If a call is abandoned before its request is sent, the line is about the credential."""

    class Endless(Credential):
        async def get_token_info(self, *_: object, **__: object) -> None:  # type: ignore[override]  # it never returns
            await asyncio.sleep(3600)

    async def scenario() -> ServiceError:
        acs = AcsClient.connect("https://contoso.invalid", Endless(FakeSource()))
        error = await error_of(acs.issue_token(IDENTITY, GRANT))
        await acs.close()
        return error

    error = virtual_time.run(scenario())

    assert (type(error), error.kind) == (AcsUnavailable, "credential")
    assert lines(caplog) == [
        f'credential_unavailable scope={ACS_SCOPE} reason="no token within 8 s"'
    ]


# Errors that are hard to cause


@pytest.mark.parametrize(
    "error", [ServiceRequestTimeoutError("slow"), ServiceResponseTimeoutError("slow")]
)
def test_timeout_without_a_cause(error: AzureError) -> None:
    """The SDK's own errors for timeouts are enough."""
    assert describe(error, "host").kind == "timeout"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(110, "Connection timed out"), "timeout"),
        (ConnectionResetError(104, "reset"), "connect"),
        (ssl.SSLEOFError(8, "EOF"), "tls"),
        (AzureError("what"), "connect"),
    ],
)
def test_cause(error: Exception, kind: Kind) -> None:
    """The first error that is known decides, however many others were raised because of it."""
    outer = AzureError("outer")
    outer.__cause__ = OSError("between")
    outer.__cause__.__cause__ = error

    assert describe(outer, "host").kind == kind
