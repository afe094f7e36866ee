"""What the operations ask of the world. The real thing and the tests' fakes implement the same."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol

from identity_service.model import AccessToken, Scope
from identity_service.rows import AgendaRow, IdentityRow, Page, UserRow


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


class RowChanged(Exception):
    """A write was refused: the row is not as it was read. Nothing was written; read it again."""


class Registry(Protocol):
    """The rows of `rows.py`, an identity row and its agenda row always changing together.

    Every method raises `RegistryUnavailable` when the outcome is not known; a write may have
    happened then. Every write raises `RowChanged` when it was refused.
    """

    async def read(self, identity_id: str) -> IdentityRow | None:
        """The identity's row."""

    async def insert(self, row: IdentityRow) -> IdentityRow:
        """Write a row that is not there yet; the row with its ETag."""

    async def update(self, old: IdentityRow, new: IdentityRow) -> IdentityRow:
        """Replace the row as it was read by a new one; the new one with its ETag."""

    async def remove(self, row: IdentityRow) -> None:
        """Take the row away, as it was read."""

    async def read_user(self, user_id: str) -> UserRow | None:
        """The user's claim."""

    async def insert_user(self, user_id: str, identity_id: str) -> None:
        """Claim the identity for the user, who has none."""

    async def update_user(self, row: UserRow, identity_id: str) -> None:
        """Replace the claim as it was read by one on another identity."""

    async def remove_user(self, row: UserRow) -> None:
        """Take the claim away, as it was read."""

    def agenda(
        self, *, after: AgendaRow | None = None, until: datetime | None = None
    ) -> AsyncIterator[AgendaRow]:
        """The agenda in its order, behind `after`, up to what is due at `until`.

        What it costs grows with how much of it is read, not with how many identities exist.
        """

    async def active(self, continuation: str | None, size: int) -> Page:
        """Up to `size` active identities and how to go on.

        Raises:
            InvalidQuery: the continuation is not one that an earlier page gave.
        """


class Clock(Protocol):
    """The time, in UTC, and the waiting for it."""

    def now(self) -> datetime:
        """The current time."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""
