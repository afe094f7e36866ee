"""The app's own credential: its managed identity in Azure, `az login` on a laptop."""

import asyncio
import time
from contextlib import suppress
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
# Seconds without a new attempt after a failure. azure-core lets calls wait for the token one after
# the other. Without this pause, each of them would wait for a failure of its own.
PAUSE = 1.0
# A token with less time left (seconds) is not used.
LAST_USE = 60


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

    azure-identity asks for a new token halfway through the lifetime of the old one, and fails the
    call if it gets none. This credential uses the old token until shortly before it expires.
    """

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self._tokens: dict[tuple[str, ...], AccessTokenInfo] = {}
        self._pauses: dict[tuple[str, ...], float] = {}

    @classmethod
    def connect(cls, client_id: str = "", proxies: dict[str, str] | None = None) -> "Credential":
        """The credential that `AZURE_TOKEN_CREDENTIALS` names.

        Args:
            client_id: The user-assigned managed identity. Empty for the system-assigned one.
            proxies: The SDK's keyword.
        """
        identity = {"managed_identity_client_id": client_id} if client_id else {}
        return cls(DefaultAzureCredential(use_env_settings=False, proxies=proxies, **identity))

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        """A token for `scopes`: a new one, or an older one that is still valid.

        Raises:
            CredentialUnavailableError: there was none within `TIMEOUT` seconds.
        """
        if _now() >= self._pauses.get(scopes, 0):
            try:
                async with asyncio.timeout(TIMEOUT):
                    token = await self._source.get_token_info(*scopes, options=options or {})
                self._tokens[scopes] = token
            except Exception as error:  # noqa: BLE001 -- a garbled response raises anything
                self._pauses[scopes] = _now() + PAUSE
                events.error(
                    "credential_unavailable", scope=" ".join(scopes), reason=_reason(error)
                )
            else:
                return token
        return self._old_token(scopes)

    def _old_token(self, scopes: tuple[str, ...]) -> AccessTokenInfo:
        old = self._tokens.get(scopes)
        if old is None or old.expires_on - time.time() < LAST_USE:
            raise CredentialUnavailableError("no token from the identity endpoint")
        return AccessTokenInfo(old.token, old.expires_on)

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

    async def warm_up(self, *scopes: str) -> None:
        """Get a token ahead of the first call. A failure is only logged: the call tries again."""
        with suppress(CredentialUnavailableError):
            await self.get_token_info(*scopes)

    async def close(self) -> None:
        """Close the connections of the source."""
        await self._source.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _reason(error: Exception) -> str:
    return excerpt(f"{type(error).__name__}: {error}")
