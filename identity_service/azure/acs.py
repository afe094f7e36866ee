"""The `Acs` port on Microsoft's identity SDK."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlsplit

from azure.communication.identity import CommunicationUserIdentifier
from azure.communication.identity.aio import CommunicationIdentityClient
from azure.core.credentials import AccessToken as SdkToken
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import AzureError
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import (
    AsyncBearerTokenCredentialPolicy,
    ContentDecodePolicy,
    DistributedTracingPolicy,
    SansIOHTTPPolicy,
    UserAgentPolicy,
)
from azure.core.pipeline.transport import AsyncHttpResponse
from azure.core.rest import HttpRequest

from identity_service.azure.acs_errors import no_credential, request_id, translate, unavailable
from identity_service.azure.credential import Credential
from identity_service.azure.failures import Failure, invalid_body
from identity_service.azure.transport import RetryOnce, Transport, only_if_awaited
from identity_service.errors import InvalidBody, ServiceError, TeamsTokenRefused
from identity_service.identity import is_identity_id
from identity_service.log import EventLog, current_invocation, request_sent
from identity_service.policies import AccessToken, TokenGrant

S = TypeVar("S")
T = TypeVar("T")

events = EventLog(__name__)

# The double slash is correct: the name of the resource ends with a slash.
ACS_SCOPE = "https://communication.azure.com//.default"

# What a bearer token may consist of (RFC 6750, section 2.1).
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")

# Seconds. A repeatable call ends within REPEATABLE, including its one retry.
CONNECT = 3.0
REPEATABLE = 7.5
# A create that has been sent is waited for beyond the caller's deadline: its response has the id of
# an identity that could not be found otherwise. The sweep then purges it.
CREATE = 20.0

_RETRY_ONCE: dict[str, Any] = {"repeatable": True}


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
        transport = Transport(CONNECT, REPEATABLE, proxy)
        if isinstance(credential, str):
            # The policy that signs with a key is not public, so the SDK's other policies stay too.
            client = CommunicationIdentityClient(
                endpoint,
                AzureKeyCredential(credential),
                transport=transport,
                retry_policy=RetryOnce(),
                custom_hook_policy=_Record(),
                permit_redirects=False,
            )
        else:
            policies = [
                ContentDecodePolicy(),
                RetryOnce(),
                AsyncBearerTokenCredentialPolicy(credential, ACS_SCOPE),
                _Record(),
                *([DistributedTracingPolicy()] if traced else []),
            ]
            client = CommunicationIdentityClient(
                endpoint, credential, transport=transport, policies=policies
            )
        return cls(client, host=urlsplit(endpoint).netloc)

    async def create(self) -> str:
        """See `ports.Acs`."""
        call = self._client.create_user(read_timeout=CREATE)
        with only_if_awaited():
            return await self._result(call, _created, has_identity=False, limit=CREATE)

    async def create_with_token(self, grant: TokenGrant) -> tuple[str, AccessToken]:
        """See `ports.Acs`."""
        call = self._client.create_user_and_token(
            list(grant.scopes),
            token_expires_in=timedelta(minutes=grant.minutes),
            read_timeout=CREATE,
        )
        with only_if_awaited():
            return await self._result(
                call,
                lambda created: (_created(created[0]), _access_token(created[1])),
                has_identity=False,
                limit=CREATE,
            )

    async def issue_token(self, identity_id: str, grant: TokenGrant) -> AccessToken:
        """See `ports.Acs`."""
        call = self._client.get_token(
            CommunicationUserIdentifier(identity_id),
            list(grant.scopes),
            token_expires_in=timedelta(minutes=grant.minutes),
            **_RETRY_ONCE,
        )
        with only_if_awaited():
            return await self._result(call, _access_token)

    async def revoke_tokens(self, identity_id: str, *, if_awaited: bool = False) -> None:
        """See `ports.Acs`."""
        call = self._client.revoke_tokens(CommunicationUserIdentifier(identity_id), **_RETRY_ONCE)
        with only_if_awaited() if if_awaited else nullcontext():
            await self._result(call, _nothing)

    async def delete(self, identity_id: str) -> None:
        """See `ports.Acs`."""
        call = self._client.delete_user(CommunicationUserIdentifier(identity_id), **_RETRY_ONCE)
        await self._result(call, _nothing)

    async def exchange_teams_token(self, token: str, app_id: str, user_id: str) -> AccessToken:
        """See `ports.Acs`."""
        call = self._client.get_token_for_teams_user(token, app_id, user_id, **_RETRY_ONCE)
        try:
            with only_if_awaited():
                return await self._result(call, _access_token, has_identity=False)
        except InvalidBody as refused:
            raise TeamsTokenRefused(
                refused.detail,
                field=refused.field,
                upstream_request_id=refused.upstream_request_id,
            ) from refused

    async def _result(
        self,
        call: Awaitable[S],
        parse: Callable[[S], T],
        *,
        has_identity: bool = True,
        limit: float = REPEATABLE,
    ) -> T:
        """The parsed response.

        Args:
            call: The call to the SDK.
            parse: Reads its result.
            has_identity: Whether the call is about an existing identity.
            limit: The seconds after which the call is abandoned, with its retry.
        """
        invocation = current_invocation()
        with invocation.acs_call() as measured, invocation.upstream_wait():
            try:
                async with asyncio.timeout(limit):
                    return parse(await call)
            except AzureError as error:
                raise translate(error, self._host, has_identity=has_identity) from error
            except TimeoutError as error:
                if not measured.is_sent:
                    reason = f"no token within {limit:.0f} s"
                    raise no_credential(ACS_SCOPE, reason) from error
                failure = Failure("timeout", f"no response within {limit:.0f} s")
                raise unavailable(self._host, failure) from error
            except ServiceError:
                raise
            except Exception as error:  # the SDK raises anything for an invalid response
                raise unavailable(self._host, invalid_body(error)) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


class _Record(SansIOHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Names this client, and records what the log line of the invocation says about ACS."""

    def __init__(self) -> None:
        self._user_agent = UserAgentPolicy().user_agent

    def on_request(self, request: PipelineRequest[HttpRequest]) -> None:
        """The credential is there, and the request goes out."""
        request.http_request.headers.setdefault("User-Agent", self._user_agent)
        request_sent()

    def on_response(
        self,
        request: PipelineRequest[HttpRequest],  # noqa: ARG002 -- part of the interface
        response: PipelineResponse[HttpRequest, AsyncHttpResponse],
    ) -> None:
        """Its id, and whether ACS throttles."""
        received = response.http_response
        invocation = current_invocation()
        invocation.upstream_request_id = request_id(received.headers) or ""
        invocation.throttles += received.status_code == HTTPStatus.TOO_MANY_REQUESTS


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
