"""The app's own credential in Entra: managed identity in Azure, `az login` on a laptop."""

import asyncio
import time
from typing import Protocol, Self

from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions
from azure.identity import CredentialUnavailableError

from identity_service.events import Events

events = Events(__name__)

# One attempt may take this long (seconds); `az` on a laptop needs a few.
PATIENCE = 6.0
# After a failure nobody asks again for this long (seconds). azure-core lets calls queue one by one
# for the token: without this, each in the queue would wait out a failure of its own.
PAUSE = 1.0
# A token with less life left (seconds) is not worth sending.
LAST_USE = 60


class TokenSource(Protocol):
    """What azure-identity's async credentials have in common, as far as it is needed here."""

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        """Get a token for the scopes; AzureError when there is none to be had."""

    async def close(self) -> None:
        """Close its connections."""


class Credential:
    """A credential that answers within a few seconds and outlives an outage of its source.

    azure-identity asks for a new token halfway through the old one's life and fails the call when
    it gets none. Here the old token serves until shortly before it expires.
    """

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self._tokens: dict[tuple[str, ...], AccessTokenInfo] = {}
        self._pauses: dict[tuple[str, ...], float] = {}

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        """A token for `scopes`, new or still good.

        Raises:
            CredentialUnavailableError: none within `PATIENCE` seconds, or none a moment ago.
        """
        if _clock() >= self._pauses.get(scopes, 0):
            try:
                async with asyncio.timeout(PATIENCE):
                    token = await self._source.get_token_info(*scopes, options=options or {})
                self._tokens[scopes] = token
            except Exception as error:  # noqa: BLE001 -- a source stumbles over a garbled answer, too
                self._pauses[scopes] = _clock() + PAUSE
                events.error("credential_unavailable", reason=_reason(error))
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
        claims: str | None = None,  # noqa: ARG002 -- azure-core's protocol has it
        tenant_id: str | None = None,  # noqa: ARG002 -- the same
        enable_cae: bool = False,  # noqa: ARG002 -- the same
        **kwargs: object,  # noqa: ARG002 -- the same
    ) -> AccessToken:
        """The same in the older form of azure-core's protocol, by which clients recognise one."""
        token = await self.get_token_info(*scopes)
        return AccessToken(token.token, token.expires_on)

    async def close(self) -> None:
        """Close the source's connections."""
        await self._source.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _clock() -> float:
    return asyncio.get_running_loop().time()


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]
