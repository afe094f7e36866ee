"""The `Acs` port on Microsoft's identity SDK."""

import re
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from urllib.parse import urlsplit

from azure.communication.identity import CommunicationUserIdentifier
from azure.communication.identity.aio import CommunicationIdentityClient
from azure.core.credentials import AccessToken as SdkToken
from azure.core.credentials import AzureKeyCredential
from azure.core.pipeline.policies import ContentDecodePolicy

from identity_service.azure.acs_calls import (
    REPEATABLE,
    RETRY_ONCE,
    authentication,
    new_transport,
    policies,
    result_of,
)
from identity_service.azure.acs_errors import Subject
from identity_service.azure.credential import Credential
from identity_service.azure.transport import only_if_awaited
from identity_service.identity import is_identity_id
from identity_service.log import EventLog
from identity_service.policies import AccessToken, TokenGrant

S = TypeVar("S")
T = TypeVar("T")

events = EventLog(__name__)

# What a bearer token may consist of (RFC 6750, section 2.1).
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")

# Seconds. A create that has been sent is waited for beyond the caller's deadline: its response has
# the id of an identity that could not be found otherwise. The sweep then purges it.
CREATE = 20.0


class AcsClient:
    """Implements `ports.Acs`."""

    def __init__(self, client: CommunicationIdentityClient, host: str) -> None:
        self._client = client
        self._host = host

    @classmethod
    def connect(
        cls, endpoint: str, credential: Credential | str, proxy: str = "", *, traced: bool = False
    ) -> "AcsClient":
        """A client of the resource at `endpoint`. Call this inside the worker's event loop.

        Args:
            endpoint: `https://host` or `https://host:port`.
            credential: The app's credential, or an access key in base64.
            proxy: The URL of the proxy. Empty if there is none.
            traced: Whether OpenTelemetry records the requests.
        """
        client = CommunicationIdentityClient(
            endpoint,
            # The SDK only checks its type: the policies authenticate.
            AzureKeyCredential(credential) if isinstance(credential, str) else credential,
            transport=new_transport(proxy),
            policies=policies(authentication(credential), ContentDecodePolicy(), traced=traced),
        )
        return cls(client, host=urlsplit(endpoint).netloc)

    async def create(self) -> str:
        """See `ports.Acs`."""
        call = self._client.create_user()
        with only_if_awaited():
            return await self._result(call, _created, subject=None, limit=CREATE)

    async def create_with_token(self, grant: TokenGrant) -> tuple[str, AccessToken]:
        """See `ports.Acs`."""
        call = self._client.create_user_and_token(
            list(grant.scopes),
            token_expires_in=timedelta(minutes=grant.minutes),
        )
        with only_if_awaited():
            return await self._result(
                call,
                lambda created: (_created(created[0]), _access_token(created[1])),
                subject=None,
                limit=CREATE,
            )

    async def issue_token(self, identity_id: str, grant: TokenGrant) -> AccessToken:
        """See `ports.Acs`."""
        call = self._client.get_token(
            CommunicationUserIdentifier(identity_id),
            list(grant.scopes),
            token_expires_in=timedelta(minutes=grant.minutes),
            **RETRY_ONCE,
        )
        with only_if_awaited():
            return await self._result(call, _access_token)

    async def revoke_tokens(self, identity_id: str, *, if_awaited: bool = False) -> None:
        """See `ports.Acs`."""
        call = self._client.revoke_tokens(CommunicationUserIdentifier(identity_id), **RETRY_ONCE)
        with only_if_awaited() if if_awaited else nullcontext():
            await self._result(call, _nothing)

    async def delete(self, identity_id: str) -> None:
        """See `ports.Acs`."""
        call = self._client.delete_user(CommunicationUserIdentifier(identity_id), **RETRY_ONCE)
        await self._result(call, _nothing)

    async def exchange_teams_token(self, token: str, app_id: str, user_id: str) -> AccessToken:
        """See `ports.Acs`."""
        call = self._client.get_token_for_teams_user(token, app_id, user_id, **RETRY_ONCE)
        with only_if_awaited():
            return await self._result(call, _access_token, subject="Teams token")

    async def _result(
        self,
        call: Awaitable[S],
        parse: Callable[[S], T],
        *,
        subject: Subject = "identity",
        limit: float = REPEATABLE,
    ) -> T:
        return await result_of(call, parse, self._host, subject=subject, limit=limit)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _nothing(_: object) -> None:
    """The response has no content."""


def _created(user: CommunicationUserIdentifier) -> str:
    created = user.properties["id"]
    if not is_identity_id(created):
        raise ValueError("the response has no valid identity id")
    events.info("identity_created", identity_id=created)
    return created


def _access_token(token: SdkToken) -> AccessToken:
    if not (isinstance(token.token, str) and _TOKEN.fullmatch(token.token)):
        raise ValueError("the response has no valid token")
    # The SDK declares an int, but this is ISO 8601 text with seven fractional digits.
    expires_on = datetime.fromisoformat(str(token.expires_on)).astimezone(UTC)
    now = datetime.now(UTC)
    if expires_on <= now:
        raise ValueError("the token in the response has expired")
    return AccessToken.received(token.token, expires_on, now)
