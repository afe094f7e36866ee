"""The SDKs' transport: no request is sent too late."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import aiohttp
from azure.core.pipeline.transport import AioHttpTransport

from identity_service.errors import CallerGone
from identity_service.log import connected, current_invocation

_only_if_awaited: ContextVar[bool] = ContextVar("only_if_awaited", default=False)


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


class Transport(AioHttpTransport):  # type: ignore[misc]  # azure-core has no types for it
    """The SDK's transport with a session of our own."""

    session: aiohttp.ClientSession | None

    def __init__(self, connect: float, response: float) -> None:
        """Wait this many seconds for a connection, and for each part of a response.

        `use_env_settings=False` halves the CPU of a call: by default the SDK reads .netrc and the
        proxy variables for each request, in two thread hops.
        """
        super().__init__(connection_timeout=connect, read_timeout=response, use_env_settings=False)

    async def open(self) -> None:
        """Open the session. This needs a running event loop."""
        self.session = self.session or new_session()
        await super().open()


def new_session(**options: Any) -> aiohttp.ClientSession:
    """A session as the SDK creates it, with a connector of our own.

    No request waits for the connection of another one: aiohttp's default is 100 connections at
    once, and `limits.Traffic` already bounds the calls.
    """
    return aiohttp.ClientSession(
        connector=_Connector(limit=0, **options),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


class _Connector(aiohttp.TCPConnector):
    async def connect(self, *arguments: Any, **options: Any) -> Any:
        """Connect, and then ask whether the request is still wanted: nothing is awaited after."""
        connection = await super().connect(*arguments, **options)
        connected()
        if _only_if_awaited.get() and current_invocation().is_over:
            connection.release()
            raise CallerGone("The caller has got a response already, so this was not done.")
        return connection
