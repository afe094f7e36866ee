"""As much of ACS and of the registry as one user's operations need; more they must not touch."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from identity_service.model import AccessToken, Scope
from identity_service.ports import Acs, Clock, Registry, RowChanged
from identity_service.principal import Caller
from identity_service.rows import AgendaRow, IdentityRow, Page, State, UserRow

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
OID = "11111111-2222-3333-4444-555555555555"
ALICE = Caller(f"aad/99999999-8888-7777-6666-555555555555/{OID}", OID)
BOB = Caller("google/https://accounts.google.com/bob")


class StillClock(Clock):
    """It is always noon."""

    def now(self) -> datetime:
        """See `ports.Clock`."""
        return NOW

    async def sleep(self, seconds: float) -> None:
        """Not needed."""
        raise NotImplementedError


class TinyAcs(Acs):
    """Does what it is told, and remembers it.

    Attributes:
        calls: What it was asked for, with everything it was told.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    async def create_with_token(
        self, scopes: list[Scope], minutes: int | None
    ) -> tuple[str, AccessToken]:
        """See `ports.Acs`."""
        self.calls.append(("create_with_token", scopes, minutes))
        return f"identity-{len(self.calls)}", self._token(minutes)

    async def issue_token(
        self, identity_id: str, scopes: list[Scope], minutes: int | None
    ) -> AccessToken:
        """See `ports.Acs`."""
        self.calls.append(("issue_token", identity_id, scopes, minutes))
        return self._token(minutes)

    async def revoke_tokens(self, identity_id: str) -> None:
        """See `ports.Acs`."""
        self.calls.append(("revoke_tokens", identity_id))

    async def exchange_teams_token(self, token: str, app_id: str, user_id: str) -> AccessToken:
        """See `ports.Acs`."""
        self.calls.append(("exchange_teams_token", token, app_id, user_id))
        return self._token(60)

    async def create(self) -> str:
        """Not needed."""
        raise NotImplementedError

    async def delete(self, identity_id: str) -> None:
        """Not needed."""
        raise NotImplementedError

    def _token(self, minutes: int | None) -> AccessToken:
        return AccessToken(f"token-{len(self.calls)}", NOW + timedelta(minutes=minutes or 1440))


class TinyRegistry(Registry):
    """Two dictionaries; it knows nothing of versions."""

    def __init__(self) -> None:
        self.rows: dict[str, IdentityRow] = {}
        self.users: dict[str, str] = {}

    def holds(self, user: Caller, state: State = State.ACTIVE) -> str:
        """Give the user an identity in this state; its id."""
        identity_id = f"identity-of-{user.user_id}"
        row = IdentityRow(id=identity_id, state=State.ACTIVE, user_id=user.user_id, created_on=NOW)
        if state is State.DELETED:
            row = row.deleted(NOW, timedelta(days=7)).but(revoked=True)
        self.rows[identity_id] = row.but(state=state)
        self.users[user.user_id] = identity_id
        return identity_id

    async def read(self, identity_id: str) -> IdentityRow | None:
        """See `ports.Registry`."""
        return self.rows.get(identity_id)

    async def insert(self, row: IdentityRow) -> IdentityRow:
        """See `ports.Registry`."""
        self.rows[row.id] = row
        return row

    async def update(self, old: IdentityRow, new: IdentityRow) -> IdentityRow:
        """See `ports.Registry`."""
        if self.rows.get(old.id) != old:
            raise RowChanged
        return await self.insert(new)

    async def read_user(self, user_id: str) -> UserRow | None:
        """See `ports.Registry`."""
        identity_id = self.users.get(user_id)
        return UserRow(user_id=user_id, identity_id=identity_id) if identity_id else None

    async def insert_user(self, user_id: str, identity_id: str) -> None:
        """See `ports.Registry`."""
        self.users[user_id] = identity_id

    async def remove(self, row: IdentityRow) -> None:
        """Not needed."""
        raise NotImplementedError

    async def update_user(self, row: UserRow, identity_id: str) -> None:
        """Not needed."""
        raise NotImplementedError

    async def remove_user(self, row: UserRow) -> None:
        """Not needed."""
        raise NotImplementedError

    def agenda(
        self, *, after: AgendaRow | None = None, until: datetime | None = None
    ) -> AsyncIterator[AgendaRow]:
        """Not needed."""
        raise NotImplementedError

    async def active(self, continuation: str | None, size: int) -> Page:
        """Not needed."""
        raise NotImplementedError
