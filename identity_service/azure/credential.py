"""The app's own credential: its managed identity in Azure, `az login` on a laptop."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Protocol, Self

from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions
from azure.identity import AzureAuthorityHosts, CredentialUnavailableError
from azure.identity.aio import DefaultAzureCredential

from identity_service.log import EventLog
from identity_service.scrubbing import excerpt

events = EventLog(__name__)

# Where credentials other than the managed identity get their tokens.
AUTHORITY = f"https://{AzureAuthorityHosts.AZURE_PUBLIC_CLOUD}"

# Seconds that one attempt may take: less than a call waits, so that the call is not blamed for it.
# `az` on a laptop needs a few.
TIMEOUT = 5.0
# Seconds between a failure and the next attempt. azure-core lets calls wait for the token one after
# the other. Without this pause, each of them would wait for a failure of its own.
PAUSE = 1.0
# The same as long as there is a token that works.
LONG_PAUSE = 10.0
# azure-core asks for each call if a token has no more than this time left (seconds).
RENEWAL = 300
# A call waits for a new token if the old one has less time left (seconds): it may expire on its
# way. The call waits this many seconds at most, and then uses the old one.
LAST_MINUTE = 60
LAST_WAIT = 2.0


class TokenSource(Protocol):
    """The part of azure-identity's async credentials that is used here."""

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        """Get a token for the scopes, or raise `AzureError`."""

    async def close(self) -> None:
        """Close the connections."""


class Credential:
    """A credential that responds within seconds and survives an outage of its source.

    azure-identity asks for a new token halfway through the lifetime of the old one, lets the call
    wait for it, and fails the call if it gets none. Here no call waits as long as the old token
    works: it is renewed in the background.
    """

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self._renewals: dict[tuple[object, ...], _Renewal] = {}

    @classmethod
    def connect(cls, client_id: str = "", proxy: str = "") -> "Credential":
        """The credential that `AZURE_TOKEN_CREDENTIALS` names.

        Args:
            client_id: The user-assigned managed identity. Empty for the system-assigned one.
            proxy: The URL of the proxy for https. The platform's identity endpoint is plain http
                on this machine. Empty if there is none.
        """
        identity = {"managed_identity_client_id": client_id} if client_id else {}
        proxies = {"https": proxy} if proxy else {}
        return cls(DefaultAzureCredential(use_env_settings=False, proxies=proxies, **identity))

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        """A token for `scopes`: a new one, or an older one that is still valid.

        Raises:
            CredentialUnavailableError: there was none within `TIMEOUT` seconds.
        """
        key = (*scopes, *sorted(options.items())) if options else scopes
        renewal = self._renewals.get(key)
        if renewal is None:
            wanted = options or TokenRequestOptions()
            request = partial(self._source.get_token_info, *scopes, options=wanted)
            renewal = self._renewals[key] = _Renewal(" ".join(scopes), request)
        return await renewal.token()

    async def get_token(
        self,
        *scopes: str,
        claims: str | None = None,  # noqa: ARG002 -- part of azure-core's protocol
        tenant_id: str | None = None,  # noqa: ARG002 -- the same
        enable_cae: bool = False,  # noqa: ARG002 -- the same
        **kwargs: object,  # noqa: ARG002 -- the same
    ) -> AccessToken:
        """The older form of azure-core's protocol. Clients recognise a credential by it."""
        token = await self.get_token_info(*scopes)
        return AccessToken(token.token, token.expires_on)

    async def bearer(self, scope: str) -> str:
        """The Authorization header for `scope`. Raises what `get_token_info` raises."""
        return f"Bearer {(await self.get_token_info(scope)).token}"

    async def warm_up(self, *scopes: str) -> None:
        """Get a token ahead of the first call. A failure is only logged: the call tries again."""
        with suppress(CredentialUnavailableError):
            await self.get_token_info(*scopes)

    async def close(self) -> None:
        """Close the connections of the source."""
        for renewal in self._renewals.values():
            renewal.cancel()
        await self._source.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Renewal:
    """The last token for some scopes, and the attempt to get the next one, which all calls share.

    Args:
        scope: The scopes, for the log.
        request: Asks the source.
    """

    def __init__(self, scope: str, request: Callable[[], Awaitable[AccessTokenInfo]]) -> None:
        self._scope = scope
        self._request = request
        self._token: AccessTokenInfo | None = None
        self._attempt: asyncio.Task[AccessTokenInfo | Exception] | None = None
        self._failed_on = -math.inf

    async def token(self) -> AccessTokenInfo:
        """See `Credential.get_token_info`."""
        self._note_outcome()
        old = self._token
        if old and _is_fresh(old):
            return old
        left = _time_left(old) if old else 0
        attempt = self._continue(LONG_PAUSE if left >= LAST_MINUTE else PAUSE)
        if attempt and left < LAST_MINUTE:
            # A caller that is cancelled does not cancel the attempt.
            await asyncio.wait({attempt}, timeout=LAST_WAIT if left > LAST_WAIT else None)
            self._note_outcome()
            outcome = attempt.result() if attempt.done() else None
            if isinstance(outcome, AccessTokenInfo):
                return outcome
        if old and _time_left(old) > 0:
            # Without `refresh_on`, so that clients do not ask again before its last minutes.
            return AccessTokenInfo(old.token, old.expires_on)
        raise CredentialUnavailableError("no token from the identity endpoint")

    def cancel(self) -> None:
        """End the attempt."""
        if self._attempt:
            self._attempt.cancel()

    def _continue(self, pause: float) -> "asyncio.Task[AccessTokenInfo | Exception] | None":
        """The attempt that is under way, or a new one. None during the pause after a failure."""
        if self._attempt is None and _now() >= self._failed_on + pause:
            self._attempt = asyncio.create_task(self._ask())
        return self._attempt

    async def _ask(self) -> AccessTokenInfo | Exception:
        try:
            async with asyncio.timeout(TIMEOUT):
                token = await self._request()
            if not (token.token and _time_left(token) > 0):
                return CredentialUnavailableError("the token has expired, or is empty")
        except Exception as error:  # noqa: BLE001 -- a garbled response raises anything
            return error
        return token

    def _note_outcome(self) -> None:
        """Keep the new token, or log the failure.

        A call does this, and not the attempt: what is logged after the end of the call that started
        the attempt can be lost.
        """
        if self._attempt is None or not self._attempt.done():
            return
        outcome, self._attempt = self._attempt.result(), None
        if isinstance(outcome, AccessTokenInfo):
            self._token = outcome
        else:
            self._failed_on = _now()
            events.error("credential_unavailable", scope=self._scope, reason=_reason(outcome))


def _is_fresh(token: AccessTokenInfo) -> bool:
    """Whether it is too early to renew the token."""
    is_early = token.refresh_on is None or token.refresh_on > time.time()
    return is_early and _time_left(token) > RENEWAL


def _time_left(token: AccessTokenInfo) -> float:
    return token.expires_on - time.time()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _reason(error: Exception) -> str:
    return excerpt(f"{type(error).__name__}: {error}")
