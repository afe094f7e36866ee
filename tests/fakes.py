"""Azure Communication Services in memory: once as our own port, once beneath Microsoft's SDK."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from azure.communication.identity.aio import CommunicationIdentityClient
from azure.core.credentials import AzureKeyCredential
from azure.core.pipeline.policies import ContentDecodePolicy
from azure.core.pipeline.transport import AsyncHttpResponse, AsyncHttpTransport, HttpRequest
from azure.core.utils import case_insensitive_dict

from identity_service.acs import AcsDirectory
from identity_service.errors import IdentityNotFound, ServiceError
from identity_service.model import AccessToken, Scope
from identity_service.ports import Acs

T = TypeVar("T")

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)

# An id in the form that ACS gives, for tests that need just one.
IDENTITY = "8:acs:11111111-2222-3333-4444-555555555555_0000002a-0000-1111-2222-333333333333"

ISSUED: dict[str, object] = {"token": "a.b.c", "expiresOn": "2030-01-02T12:00:00.1234567+00:00"}
CREATED: dict[str, object] = {"identity": {"id": IDENTITY}}
CREATED_WITH_TOKEN: dict[str, object] = {"identity": {"id": IDENTITY}, "accessToken": ISSUED}


class FakeAcs(Acs):
    """The port `Acs` in memory. Its clock stands still at `NOW`.

    Attributes:
        identities: The ids that exist, oldest first.
        tokens: Per identity, the tokens that still count.
        revocations: The ids whose tokens were revoked, in order.
        calls: The names of the methods called, in order.
        fail_next: What the next call raises instead of doing anything.
    """

    def __init__(self) -> None:
        self.identities: list[str] = []
        self.tokens: dict[str, list[str]] = {}
        self.revocations: list[str] = []
        self.calls: list[str] = []
        self.fail_next: Exception | None = None
        self._ids = 0
        self._tokens = 0

    async def create(self) -> str:
        """See `ports.Acs`."""
        self._called("create")
        return self._create()

    async def create_with_token(
        self, scopes: list[Scope], minutes: int | None
    ) -> tuple[str, AccessToken]:
        """See `ports.Acs`."""
        self._called("create_with_token")
        identity_id = self._create()
        return identity_id, self._issue(identity_id, minutes)

    async def issue_token(
        self, identity_id: str, scopes: list[Scope], minutes: int | None
    ) -> AccessToken:
        """See `ports.Acs`."""
        self._called("issue_token", identity_id)
        return self._issue(identity_id, minutes)

    async def revoke_tokens(self, identity_id: str) -> None:
        """See `ports.Acs`."""
        self._called("revoke_tokens", identity_id)
        self.revocations.append(identity_id)
        self.tokens[identity_id].clear()

    async def delete(self, identity_id: str) -> None:
        """See `ports.Acs`."""
        self._called("delete", identity_id)
        self.identities.remove(identity_id)
        del self.tokens[identity_id]

    async def exchange_teams_token(self, token: str, app_id: str, user_id: str) -> AccessToken:
        """See `ports.Acs`."""
        self._called("exchange_teams_token")
        return self._token(None)

    def _called(self, name: str, identity_id: str | None = None) -> None:
        self.calls.append(name)
        failure, self.fail_next = self.fail_next, None
        if failure is not None:
            raise failure
        if identity_id is not None and identity_id not in self.identities:
            raise IdentityNotFound("ACS has no such identity any more.")

    def _create(self) -> str:
        self._ids += 1
        identity_id = (
            f"8:acs:{0:08x}-0000-0000-0000-{0:012x}_{self._ids:08x}-1111-2222-3333-{0:012x}"
        )
        self.identities.append(identity_id)
        self.tokens[identity_id] = []
        return identity_id

    def _issue(self, identity_id: str, minutes: int | None) -> AccessToken:
        token = self._token(minutes)
        self.tokens[identity_id].append(token.token)
        return token

    def _token(self, minutes: int | None) -> AccessToken:
        self._tokens += 1
        return AccessToken(f"token-{self._tokens}", NOW + timedelta(minutes=minutes or 1440))


class Answer(AsyncHttpResponse):
    """An answer of ACS as its SDK receives one.

    A text goes out as it stands; anything else goes out as JSON.
    """

    def __init__(
        self, status: int, body: object = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(HttpRequest("POST", "https://acs.example"), None)
        self.status_code = status
        self.reason = "as the test wants it"
        self.headers = case_insensitive_dict(headers or {})
        self.content_type = self.headers.get("Content-Type", "application/json")
        self._body = body if isinstance(body, str) else json.dumps(body)

    def body(self) -> bytes:
        """The body's bytes."""
        return self._body.encode()


class Wire(AsyncHttpTransport[HttpRequest, Answer]):
    """Gives Microsoft's SDK one answer to everything, and remembers the requests."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.requests: list[HttpRequest] = []

    async def send(self, request: HttpRequest, **kwargs: Any) -> Answer:
        """Answer the request."""
        self.requests.append(request)
        return self._answer

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


def directory(wire: Wire) -> AcsDirectory:
    """The real directory over the real SDK, which reads the answers of `wire`; nothing repeats."""
    return AcsDirectory(
        CommunicationIdentityClient(
            "https://acs.example",
            AzureKeyCredential("a2V5"),
            transport=wire,
            policies=[ContentDecodePolicy()],
        )
    )


def every_subclass(kind: type[T]) -> list[type[T]]:
    """The class and all that derive from it, by whatever way and however far."""
    found = [kind]
    for child in kind.__subclasses__():
        found += [one for one in every_subclass(child) if one not in found]
    return found


def service_errors() -> list[type[ServiceError]]:
    """Every error that a caller can be told."""
    return [kind for kind in every_subclass(ServiceError) if kind is not ServiceError]
