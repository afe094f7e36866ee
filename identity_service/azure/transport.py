"""How the SDKs send requests: cheaply, never too late, and at most twice."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from http import HTTPStatus
from ssl import SSLContext
from typing import Any, Self

import aiohttp
from azure.core.exceptions import (
    ServiceRequestError,
    ServiceRequestTimeoutError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import AsyncHTTPPolicy
from azure.core.pipeline.transport import (
    AioHttpTransport,
    AsyncHttpResponse,
    AsyncHttpTransport,
)
from azure.core.rest import HttpRequest

from identity_service.errors import CallerGone
from identity_service.log import connected, current_invocation

# A response and its body, decompressed.
Received = tuple[aiohttp.ClientResponse, bytes]

_only_if_awaited: ContextVar[bool] = ContextVar("only_if_awaited", default=False)
_not_after: ContextVar[datetime | None] = ContextVar("not_after", default=None)


@contextmanager
def only_if_awaited() -> Iterator[None]:
    """Send the requests of this block only while the caller of the invocation waits.

    Such a request raises `CallerGone` instead of being sent later.
    """
    token = _only_if_awaited.set(True)
    try:
        yield
    finally:
        _only_if_awaited.reset(token)


@contextmanager
def not_sent_after(moment: datetime) -> Iterator[None]:
    """Never send a request of this block after `moment`, not even as a retry.

    Such a request raises `ServiceRequestTimeoutError` instead.
    """
    token = _not_after.set(moment)
    try:
        yield
    finally:
        _not_after.reset(token)


class RetryOnce(AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Repeats a call with the option `repeatable` once, after a failure on our side or in Azure.

    It never repeats a refusal, and never waits: azure-core's own policy waits for the Retry-After
    of any failed call, up to an hour. Here the caller receives the Retry-After.
    """

    async def send(
        self, request: PipelineRequest[HttpRequest]
    ) -> PipelineResponse[HttpRequest, AsyncHttpResponse]:
        """Send the request, and send it again if that may help."""
        if not request.context.options.pop("repeatable", False):
            return await self.next.send(request)
        try:
            response = await self.next.send(request)
            if response.http_response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                return response
        except (ServiceRequestError, ServiceResponseError):
            # aiohttp has already repeated any other request on a dropped connection.
            if request.http_request.method != "POST":
                raise
        return await self.next.send(request)


class Response(AsyncHttpResponse):
    """A response whose body has been read."""

    def __init__(self, request: HttpRequest, received: aiohttp.ClientResponse, body: bytes) -> None:
        super().__init__(request, received)  # type: ignore[arg-type]  # only older requests declared
        self.status_code = received.status
        self.headers = received.headers  # type: ignore[assignment]  # nothing writes to them
        self.reason = received.reason or ""
        self.content_type = received.headers.get("Content-Type", "")
        self._body = body

    def body(self) -> bytes:
        """The body, decompressed."""
        return self._body


class Transport(AsyncHttpTransport[HttpRequest, AsyncHttpResponse]):
    """Sends the SDKs' requests with aiohttp.

    azure-core's own transport costs more CPU than aiohttp itself: for each request it chooses TLS
    options, and it builds a response that can be streamed.

    Args:
        connect: Seconds to wait for a connection.
        response: Seconds to wait for each part of a response. None: as long as the caller waits.
        proxy: The URL of the proxy for https. Empty if there is none.
    """

    def __init__(self, connect: float, response: float | None, proxy: str = "") -> None:
        self.session: aiohttp.ClientSession | None = None
        self._timeout = aiohttp.ClientTimeout(sock_connect=connect, sock_read=response)
        self._proxy = proxy or None

    async def open(self) -> None:
        """Open the session. This needs a running event loop."""
        self.session = self.session or new_session()

    async def send(
        self,
        request: HttpRequest,
        **_: Any,  # options for other transports
    ) -> Response:
        """Send the request and read the response. It raises what `exchange` raises."""
        received = await self.exchange(
            request.method, request.url, request.headers, request.content
        )
        return Response(request, *received)

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], content: Any = None
    ) -> Received:
        """Send a request and read the response.

        Raises:
            ServiceRequestError: it was not sent, or its connection broke.
            ServiceResponseError: no valid response arrived in time.
        """
        if self.session is None:
            await self.open()
        assert self.session  # noqa: S101 -- for mypy
        try:
            received = await self.session.request(
                method,
                url,
                headers=headers,
                data=content,
                timeout=self._timeout,
                allow_redirects=False,
                proxy=self._proxy if url.startswith("https:") else None,
            )
            return received, await received.read()  # this releases the connection
        except aiohttp.ClientResponseError as error:
            raise ServiceResponseError(error, error=error) from error
        except aiohttp.ConnectionTimeoutError as error:
            raise ServiceRequestTimeoutError(error, error=error) from error
        except TimeoutError as error:
            raise ServiceResponseTimeoutError(error, error=error) from error
        except aiohttp.ClientError as error:
            raise ServiceRequestError(error, error=error) from error

    async def close(self) -> None:
        """Close the connections."""
        if self.session:
            await self.session.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class StreamingTransport(AioHttpTransport):  # type: ignore[misc]  # azure-core has no types for it
    """azure-core's transport with a session of our own. The tables SDK streams its batches."""

    session: aiohttp.ClientSession | None

    def __init__(self, connect: float, response: float) -> None:
        """Wait this many seconds for a connection, and for each part of a response.

        `use_env_settings=False` halves the CPU of a call: by default the SDK reads .netrc and the
        proxy variables for each request, in two thread hops.
        """
        super().__init__(connection_timeout=connect, read_timeout=response, use_env_settings=False)

    async def open(self) -> None:
        """Open the session. This needs a running event loop."""
        self.session = self.session or new_session(auto_decompress=False)
        await super().open()


def new_session(
    *, auto_decompress: bool = True, ssl: SSLContext | bool = True
) -> aiohttp.ClientSession:
    """A session with a connector of our own. It reads no proxy from the environment.

    No request waits for the connection of another one: aiohttp's default is 100 connections at
    once, and `limits.Traffic` already bounds the calls.
    """
    return aiohttp.ClientSession(
        connector=_Connector(limit=0, ssl=ssl),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=auto_decompress,
        # Without a body, aiohttp would still name its type. The SDKs name the type of a body.
        skip_auto_headers=("Content-Type",),
    )


class _Connector(aiohttp.TCPConnector):
    async def connect(self, *arguments: Any, **options: Any) -> Any:
        """Connect, and then ask whether the request may be sent: nothing is awaited after."""
        connection = await super().connect(*arguments, **options)
        connected()
        try:
            _require_caller()
            _require_time()
        except Exception:
            connection.release()
            raise
        return connection


def _require_caller() -> None:
    if _only_if_awaited.get() and current_invocation().is_over:
        raise CallerGone("The caller has got a response already, so this was not done.")


def _require_time() -> None:
    moment = _not_after.get()
    if moment and datetime.now(UTC) > moment:
        raise ServiceRequestTimeoutError("the connection took so long that nothing was sent")
