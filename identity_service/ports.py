"""What the operations ask of the world. The real thing and the tests' fakes implement the same."""

from typing import Protocol

from identity_service.model import AccessToken, Scope


class Acs(Protocol):
    """The identity directory of one ACS resource.

    Every method raises the errors that name ACS (`AcsUnavailable`, `AcsTooSlow`, `AcsRefusedUs`,
    `Throttled`); those that take an id raise `IdentityNotFound` too.
    """

    async def create(self) -> str:
        """Create an identity; its id. Never attempted twice: each attempt makes another one."""

    async def create_with_token(
        self, scopes: list[Scope], minutes: int | None
    ) -> tuple[str, AccessToken]:
        """Create an identity and its first token in one call. Never attempted twice."""

    async def issue_token(
        self, identity_id: str, scopes: list[Scope], minutes: int | None
    ) -> AccessToken:
        """Issue a token that lives `minutes` (ACS's own default of 1440 when None)."""

    async def revoke_tokens(self, identity_id: str) -> None:
        """Revoke every token issued to the identity so far."""

    async def delete(self, identity_id: str) -> None:
        """Delete the identity, its tokens and its data, for ever."""

    async def exchange_teams_token(self, token: str, app_id: str, user_id: str) -> AccessToken:
        """Exchange a Teams user's Entra token.

        Raises:
            TeamsTokenRefused: the token, or the token with this app and user, is not accepted.
        """
