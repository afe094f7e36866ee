"""The identity directory of one ACS resource, in our words."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from azure.communication.identity import CommunicationUserIdentifier
from azure.communication.identity.aio import CommunicationIdentityClient
from azure.core.credentials import AccessToken as SdkToken
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import AzureError
from azure.core.pipeline import PipelineResponse
from azure.core.pipeline.policies import AsyncRetryPolicy

from identity_service.acs_errors import request_id, translated
from identity_service.credential import Credential
from identity_service.errors import AcsTooSlow, AcsUnavailable, InvalidBody, TeamsTokenRefused
from identity_service.events import Events
from identity_service.invocation import current
from identity_service.model import AccessToken, Scope, is_identity_id

S = TypeVar("S")
T = TypeVar("T")

events = Events(__name__)

# The double slash is right: the resource's name ends with a slash of its own.
ACS_SCOPE = "https://communication.azure.com//.default"

# Seconds. A call that can be repeated ends, its one retry included, within REPEATABLE.
CONNECT = 3.0
REPEATABLE = 8.0
# A create that has been sent is waited for far beyond the caller's deadline: its answer names an
# identity that nobody could find again.
CREATE = 60.0

_REPEAT_ONCE: dict[str, Any] = {"retry_total": 1, "retry_on_methods": ["POST", "DELETE"]}


class AcsDirectory:
    """Implements `ports.Acs` with Microsoft's SDK."""

    def __init__(self, client: CommunicationIdentityClient) -> None:
        self._client = client

    @classmethod
    def connect(
        cls,
        endpoint: str,
        credential: Credential | AzureKeyCredential,
        proxies: dict[str, str] | None = None,
    ) -> "AcsDirectory":
        """The directory at `endpoint`. To be called inside the worker's event loop.

        `use_env_settings=False` halves the CPU of a call: the SDK's default looks up .netrc and
        the proxy variables on every request, in two thread hops. `proxies` comes from `Proxy`.
        """
        return cls(
            CommunicationIdentityClient(
                endpoint,
                credential,
                retry_policy=_RepeatAtOnce(retry_total=0, retry_backoff_factor=0),
                connection_timeout=CONNECT,
                read_timeout=REPEATABLE,
                use_env_settings=False,
                proxies=proxies,
                raw_response_hook=_note,
            )
        )

    async def create(self) -> str:
        """See `ports.Acs`."""
        call = self._client.create_user(read_timeout=CREATE)
        return await _answer(call, _created, of_identity=False)

    async def create_with_token(
        self, scopes: list[Scope], minutes: int | None
    ) -> tuple[str, AccessToken]:
        """See `ports.Acs`."""
        call = self._client.create_user_and_token(
            list(scopes), token_expires_in=_lifetime(minutes), read_timeout=CREATE
        )
        return await _answer(
            call, lambda made: (_created(made[0]), _access_token(made[1])), of_identity=False
        )

    async def issue_token(
        self, identity_id: str, scopes: list[Scope], minutes: int | None
    ) -> AccessToken:
        """See `ports.Acs`."""
        call = self._client.get_token(
            _user(identity_id), list(scopes), token_expires_in=_lifetime(minutes), **_REPEAT_ONCE
        )
        return await _repeatable(call, _access_token)

    async def revoke_tokens(self, identity_id: str) -> None:
        """See `ports.Acs`."""
        await _repeatable(self._client.revoke_tokens(_user(identity_id), **_REPEAT_ONCE), _nothing)

    async def delete(self, identity_id: str) -> None:
        """See `ports.Acs`."""
        await _repeatable(self._client.delete_user(_user(identity_id), **_REPEAT_ONCE), _nothing)

    async def exchange_teams_token(self, token: str, app_id: str, user_id: str) -> AccessToken:
        """See `ports.Acs`."""
        call = self._client.get_token_for_teams_user(token, app_id, user_id, **_REPEAT_ONCE)
        try:
            return await _repeatable(call, _access_token, of_identity=False)
        except InvalidBody as refused:
            raise TeamsTokenRefused(
                refused.detail,
                field=refused.field,
                upstream_request_id=refused.upstream_request_id,
            ) from refused

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


class _RepeatAtOnce(AsyncRetryPolicy[Any, Any]):
    """The SDK's retries without its sleeps.

    By default azure-core obeys the Retry-After of any failed call, be it an hour. Here a repeat
    comes at once or not at all, and only where our side or ACS stumbled: never after a refusal.
    """

    def is_retry(self, settings: dict[str, Any], response: PipelineResponse[Any, Any]) -> bool:
        """Whether to repeat a call that got an answer: only one of 500 or more."""
        failed = response.http_response.status_code >= 500  # noqa: PLR2004 -- as HTTP numbers them
        return bool(failed and settings["total"] > 0)

    def increment(self, settings: dict[str, Any], response: Any = None, error: Any = None) -> bool:
        """Whether to repeat: not a DELETE on a dropped connection, which aiohttp has repeated."""
        if error is not None and response.http_request.method == "DELETE":
            return False
        return bool(super().increment(settings, response, error))

    def get_retry_after(self, response: PipelineResponse[Any, Any]) -> float | None:  # noqa: ARG002 -- never waited for
        """No wait: a caller is told Retry-After instead."""
        return None


async def _repeatable(
    call: Awaitable[S], understand: Callable[[S], T], *, of_identity: bool = True
) -> T:
    """Await a call that does no harm when it is given up halfway."""
    try:
        async with asyncio.timeout(REPEATABLE):
            return await _answer(call, understand, of_identity=of_identity)
    except TimeoutError as error:
        raise AcsTooSlow("ACS did not answer in time.") from error


async def _answer(call: Awaitable[S], understand: Callable[[S], T], *, of_identity: bool) -> T:
    """What the answer to a call means, which is about an identity or not."""
    try:
        with current().acs_call():
            return understand(await call)
    except AzureError as error:
        raise translated(error, of_identity=of_identity) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # The SDK reads answers without checking them: these are what it stumbles with.
        events.error("acs_answer_not_understood", error)
        raise AcsUnavailable("ACS gave an answer that cannot be understood.") from error


def _note(response: PipelineResponse[Any, Any]) -> None:
    """Note what the log tells of an answer."""
    invocation = current()
    invocation.upstream_request_id = request_id(response.http_response.headers) or ""
    invocation.throttles += response.http_response.status_code == 429  # noqa: PLR2004 -- Too Many Requests


def _user(identity_id: str) -> CommunicationUserIdentifier:
    return CommunicationUserIdentifier(identity_id)


def _nothing(_: object) -> None:
    """That the call succeeded says it all."""


def _created(user: CommunicationUserIdentifier) -> str:
    made = user.properties["id"]
    if not is_identity_id(made):
        raise ValueError("a new identity without the id of one")
    events.info("identity_created", identity_id=made)
    return made


def _lifetime(minutes: int | None) -> timedelta | None:
    return None if minutes is None else timedelta(minutes=minutes)


def _access_token(token: SdkToken) -> AccessToken:
    if not token.token:
        raise ValueError("a token without text")
    # An ISO 8601 text with seven fractional digits, whatever its type promises.
    expires_on = datetime.fromisoformat(str(token.expires_on)).astimezone(UTC)
    return AccessToken(token.token, expires_on.replace(microsecond=0))
