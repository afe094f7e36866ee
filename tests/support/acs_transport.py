"""A transport for Microsoft's identity SDK that returns one response and records the requests."""

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from azure.communication.identity.aio import CommunicationIdentityClient
from azure.core.credentials import AzureKeyCredential
from azure.core.pipeline.policies import ContentDecodePolicy
from azure.core.pipeline.transport import AsyncHttpResponse, AsyncHttpTransport, HttpRequest
from azure.core.utils import case_insensitive_dict

from identity_service.azure.acs import AcsClient

HOST = "acs.example"
# A valid id.
IDENTITY = "8:acs:11111111-2222-3333-4444-555555555555_0000002a-0000-1111-2222-333333333333"

ISSUED: dict[str, object] = {"token": "a.b.c", "expiresOn": "2030-01-02T12:00:00.1234567+00:00"}
CREATED: dict[str, object] = {"identity": {"id": IDENTITY}}
CREATED_WITH_TOKEN: dict[str, object] = {"identity": {"id": IDENTITY}, "accessToken": ISSUED}


class Response(AsyncHttpResponse):
    """A response of ACS as the SDK receives it. A text body is sent as it is, others as JSON."""

    def __init__(
        self, status: int, body: object = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(HttpRequest("POST", f"https://{HOST}"), None)
        self.status_code = status
        self.reason = "chosen by the test"
        self.headers = case_insensitive_dict(headers or {})
        self.content_type = self.headers.get("Content-Type", "application/json")
        self._body = body if isinstance(body, str) else json.dumps(body)

    def body(self) -> bytes:
        """The bytes of the body."""
        return self._body.encode()


class Transport(AsyncHttpTransport[HttpRequest, Response]):
    """Returns the same response to every request, and records the requests."""

    def __init__(self, response: Response) -> None:
        self._response = response
        self.requests: list[HttpRequest] = []

    async def send(self, request: HttpRequest, **kwargs: Any) -> Response:
        """Return the response."""
        self.requests.append(request)
        return self._response

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Nothing to close."""

    @property
    def sent(self) -> Any:
        """The body of the only request."""
        [request] = self.requests
        return json.loads(str(request.body or "null"))


def acs_client(transport: Transport) -> AcsClient:
    """The real adapter on the real SDK with this transport, without retries."""
    return AcsClient(
        CommunicationIdentityClient(
            f"https://{HOST}",
            AzureKeyCredential("a2V5"),
            transport=transport,
            policies=[ContentDecodePolicy()],
        ),
        HOST,
    )
