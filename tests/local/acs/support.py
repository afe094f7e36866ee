"""Runs the emulator over TLS in another thread, and sends requests to it."""

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    closing,
    contextmanager,
)
from dataclasses import dataclass
from email.utils import formatdate
from functools import cached_property
from http.client import HTTPMessage, HTTPSConnection
from pathlib import Path
from typing import Any, TypeVar

from local.acs import CONTROL_HEADER, CONTROL_PREFIX, Emulator
from local.entra import Issuer
from local.servers import Authority, listen, serving

VERSION = "api-version=2023-10-01"
CREATE = f"/identities?{VERSION}"

Value = TypeVar("Value")


@dataclass(frozen=True)
class Response:
    """A response as received."""

    status: int
    headers: HTTPMessage
    content: bytes

    @property
    def document(self) -> Any:
        """The JSON body."""
        return json.loads(self.content)

    @property
    def error(self) -> tuple[int, str, str, str | None]:
        """Status, code, message and target of an error."""
        error = self.document["error"]
        return self.status, error["code"], error["message"], error.get("target")


@dataclass
class EmulatorClient:
    """A client of a running emulator."""

    emulator: Emulator
    issuer: Issuer
    keys: tuple[str, str]
    control_key: str
    ca_file: Path
    port: int

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """Trusts the emulator's certificate authority."""
        return ssl.create_default_context(cafile=str(self.ca_file))

    def send(
        self, method: str, target: str, headers: dict[str, str], body: bytes = b""
    ) -> Response:
        """Send a request. The target is sent without changes."""
        connection = HTTPSConnection("localhost", self.port, timeout=60, context=self.tls)
        with closing(connection):
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            return Response(response.status, response.headers, response.read())

    def signed(
        self,
        method: str,
        target: str,
        body: object = None,
        *,
        key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Response:
        """Send a signed request. Bytes are sent as they are, other bodies as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode() if body else b""
        host, key = f"localhost:{self.port}", key or self.keys[0]
        signature = signed_headers(method, target, content, host=host, key=key)
        return self.send(method, target, {**signature, **(headers or {})}, content)

    def control(self, method: str, path: str, body: object = None) -> Response:
        """Send a request to the control endpoint."""
        content = b"" if body is None else json.dumps(body).encode()
        headers = {CONTROL_HEADER: self.control_key}
        return self.send(method, CONTROL_PREFIX + path, headers, content)

    def create(self) -> str:
        """Create an identity and return its id."""
        return str(self.signed("POST", CREATE).document["identity"]["id"])

    def issue(
        self, identity_id: str, body: object = None, *, version: str = "2023-10-01"
    ) -> Response:
        """Issue a token, by default with the scope voip."""
        target = f"/identities/{identity_id}/:issueAccessToken?api-version={version}"
        return self.signed("POST", target, {"scopes": ["voip"]} if body is None else body)

    def revoke(self, identity_id: str) -> Response:
        """Revoke the identity's tokens."""
        return self.signed("POST", f"/identities/{identity_id}/:revokeAccessTokens?{VERSION}")

    def delete(self, identity_id: str) -> Response:
        """Delete the identity."""
        return self.signed("DELETE", f"/identities/{identity_id}?{VERSION}")

    def exchange(self, body: object) -> Response:
        """Exchange a Teams user's token."""
        return self.signed("POST", f"/teamsUser/:exchangeAccessToken?{VERSION}", body)

    def verify(self, token: str) -> Any:
        """Verify an access token with the control endpoint."""
        return self.control("POST", "/tokens/verify", {"token": token}).document

    def state(self, identity_id: str) -> Any:
        """The identity as the control endpoint shows it."""
        return self.control("GET", f"/identities/{identity_id}").document

    def add_fault(self, **fault: object) -> Any:
        """Inject a fault."""
        return self.control("POST", "/faults", fault).document

    def counts(self, operation: str) -> tuple[int, int]:
        """Attempts and effects of an operation."""
        counts = self.control("GET", "/counts").document["operations"][operation]
        return counts["attempts"], counts["effects"]


def random_key() -> str:
    """A new access key."""
    return base64.b64encode(secrets.token_bytes(64)).decode()


def signed_headers(method: str, target: str, body: bytes, *, host: str, key: str) -> dict[str, str]:
    """The headers of a signed request."""
    date = formatdate(usegmt=True)
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    text = f"{method}\n{target}\n{date};{host};{digest}"
    signature = hmac.digest(base64.b64decode(key), text.encode(), "sha256")
    return {
        "Host": host,
        "x-ms-date": date,
        "x-ms-content-sha256": digest,
        "Authorization": "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256"
        f"&Signature={base64.b64encode(signature).decode()}",
    }


@contextmanager
def serve(folder: Path, clock: Callable[[], float] = time.time) -> Iterator[EmulatorClient]:
    """Run an emulator on a free port until the block ends."""
    with run_in_thread(_serving(folder, clock)) as client:
        yield client


@asynccontextmanager
async def _serving(folder: Path, clock: Callable[[], float]) -> AsyncIterator[EmulatorClient]:
    issuer, authority, ca_file = Issuer(), Authority(), folder / "ca"
    keys, control_key = (random_key(), random_key()), secrets.token_urlsafe()
    authority.write_bundle(ca_file)
    emulator = Emulator(issuer=issuer, access_keys=keys, control_key=control_key, clock=clock)
    listener = listen(0, "another port")
    async with serving(emulator.application(), listener, authority.server_context()) as served:
        yield EmulatorClient(emulator, issuer, keys, control_key, ca_file, served.port)


@contextmanager
def run_in_thread(context: AbstractAsyncContextManager[Value]) -> Iterator[Value]:
    """Enter an async context manager in an event loop that runs in another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(timeout=60)

    stack = AsyncExitStack()
    try:
        yield run(stack.enter_async_context(context))
    finally:
        run(stack.aclose())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=60)
        loop.close()
