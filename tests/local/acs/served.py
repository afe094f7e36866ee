"""An emulator that is served over TLS from a thread of its own, and how to speak to it."""

import asyncio
import base64
import hashlib
import hmac
import http.client
import json
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import trustme
from aiohttp import web

from local.acs import CONTROL_HEADER, CONTROL_PREFIX, Emulator
from local.entra import Issuer

VERSION = "api-version=2023-10-01"


class Clock:
    """The real time, moved at will."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.ahead


@dataclass(frozen=True)
class Reply:
    """What came back over the wire."""

    status: int
    headers: http.client.HTTPMessage
    content: bytes

    @property
    def document(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.content)

    @property
    def error(self) -> tuple[int, str, str, str | None]:
        """Status, code, message and target of an error."""
        error = self.document["error"]
        return self.status, error["code"], error["message"], error.get("target")


@dataclass
class Served:
    """A running emulator, and what a client has to know of it."""

    ca_file: Path
    port: int = 0
    issuer: Issuer = field(default_factory=Issuer)
    keys: tuple[str, str] = field(default_factory=lambda: (random_key(), random_key()))
    control_key: str = field(default_factory=secrets.token_urlsafe)
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.emulator = Emulator(
            issuer=self.issuer,
            access_keys=self.keys,
            control_key=self.control_key,
            clock=self.clock,
        )

    @property
    def endpoint(self) -> str:
        """The resource's endpoint."""
        return f"https://localhost:{self.port}"

    @property
    def connection_string(self) -> str:
        """Endpoint and primary key, as the portal shows them."""
        return f"endpoint={self.endpoint}/;accesskey={self.keys[0]}"

    def send(self, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> Reply:
        """Send exactly this; the target goes out as it stands."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        connection = http.client.HTTPSConnection(
            "localhost", self.port, timeout=10, context=context
        )
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def signed(
        self,
        method: str,
        target: str,
        body: object = None,
        *,
        key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Send a signed request, as the documentation says; bytes go out as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode() if body else b""
        signature = signed_headers(
            method, target, content, host=f"localhost:{self.port}", key=key or self.keys[0]
        )
        return self.send(method, target, {**signature, **(headers or {})}, content)

    def control(self, method: str, path: str, body: object = None) -> Reply:
        """Ask the control endpoint."""
        content = b"" if body is None else json.dumps(body).encode()
        headers = {CONTROL_HEADER: self.control_key}
        return self.send(method, CONTROL_PREFIX + path, headers, content)

    def create(self) -> str:
        """The id of a new identity."""
        created = self.signed("POST", f"/identities?{VERSION}")
        return str(created.document["identity"]["id"])

    def issue(self, identity_id: str, body: object = None) -> Reply:
        """Ask for a token, a voip one unless told otherwise."""
        target = f"/identities/{identity_id}/:issueAccessToken?{VERSION}"
        return self.signed("POST", target, body or {"scopes": ["voip"]})

    def revoke(self, identity_id: str) -> Reply:
        """Revoke the identity's tokens."""
        return self.signed("POST", f"/identities/{identity_id}/:revokeAccessTokens?{VERSION}")

    def delete(self, identity_id: str) -> Reply:
        """Delete the identity."""
        return self.signed("DELETE", f"/identities/{identity_id}?{VERSION}")

    def exchange(self, body: object) -> Reply:
        """Exchange a Teams user's token."""
        return self.signed("POST", f"/teamsUser/:exchangeAccessToken?{VERSION}", body)

    def verify(self, token: str) -> Any:
        """What the control endpoint says about an access token."""
        return self.control("POST", "/tokens/verify", {"token": token}).document

    def arm(self, **fault: object) -> Any:
        """Ask for a fault."""
        return self.control("POST", "/faults", fault).document

    def counts(self, operation: str) -> tuple[int, int]:
        """Attempts and effects of an operation."""
        counted = self.control("GET", "/counts").document["operations"][operation]
        return counted["attempts"], counted["effects"]


def random_key() -> str:
    """An access key."""
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
def serve(folder: Path) -> Iterator[Served]:
    """Serve an emulator on a free port until the block ends."""
    authority = trustme.CA()
    served = Served(ca_file=folder / "ca.pem")
    authority.cert_pem.write_to_path(str(served.ca_file))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    with _in_thread(lambda started: _run(served, context, started)) as port:
        served.port = port
        yield served


async def _run(
    served: Served, context: ssl.SSLContext, started: "Future[tuple[int, Callable[[], object]]]"
) -> None:
    runner = web.AppRunner(served.emulator.application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    started.set_result((runner.addresses[0][1], lambda: loop.call_soon_threadsafe(stop.set)))
    await stop.wait()
    await runner.cleanup()


@contextmanager
def _in_thread(run: Callable[["Future[tuple[int, Callable[[], object]]]"], Any]) -> Iterator[int]:
    started: Future[tuple[int, Callable[[], object]]] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(run(started)), daemon=True)
    thread.start()
    port, stop = started.result(timeout=10)
    try:
        yield port
    finally:
        stop()
        thread.join(timeout=10)
