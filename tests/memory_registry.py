"""The registry in memory: the same facts hold for it as for the real one, see test_registry.py."""

from collections.abc import AsyncIterator
from datetime import datetime

from identity_service.errors import InvalidQuery
from identity_service.ports import Registry, RowChanged
from identity_service.rows import AgendaRow, IdentityRow, Page, State, UserRow
from tests.remote import Remote

_CONTINUATION = "behind:"


class MemoryRegistry(Remote, Registry):
    """The port `Registry` in memory.

    Attributes:
        rows: The identity rows, by id.
        entries: The agenda rows.
        users: The user rows, by user id.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, IdentityRow] = {}
        self.entries: set[AgendaRow] = set()
        self.users: dict[str, UserRow] = {}
        self._versions = 0

    async def read(self, identity_id: str) -> IdentityRow | None:
        """See `ports.Registry`."""
        return await self.perform("read", lambda: self.rows.get(identity_id))

    async def insert(self, row: IdentityRow) -> IdentityRow:
        """See `ports.Registry`."""

        def effect() -> IdentityRow:
            _demand(row.id not in self.rows)
            return self._put(None, row)

        return await self.perform("insert", effect)

    async def update(self, old: IdentityRow, new: IdentityRow) -> IdentityRow:
        """See `ports.Registry`."""

        def effect() -> IdentityRow:
            _demand(old.id in self.rows and self.rows[old.id].etag == old.etag)
            return self._put(old.due, new)

        return await self.perform("update", effect)

    async def remove(self, row: IdentityRow) -> None:
        """See `ports.Registry`."""

        def effect() -> None:
            _demand(row.id in self.rows and self.rows[row.id].etag == row.etag)
            self._reschedule(row.id, row.due, None)
            del self.rows[row.id]

        await self.perform("remove", effect)

    async def read_user(self, user_id: str) -> UserRow | None:
        """See `ports.Registry`."""
        return await self.perform("read_user", lambda: self.users.get(user_id))

    async def insert_user(self, user_id: str, identity_id: str) -> None:
        """See `ports.Registry`."""

        def effect() -> None:
            _demand(user_id not in self.users)
            self._put_user(user_id, identity_id)

        await self.perform("insert_user", effect)

    async def update_user(self, row: UserRow, identity_id: str) -> None:
        """See `ports.Registry`."""

        def effect() -> None:
            _demand(row.user_id in self.users and self.users[row.user_id].etag == row.etag)
            self._put_user(row.user_id, identity_id)

        await self.perform("update_user", effect)

    async def remove_user(self, row: UserRow) -> None:
        """See `ports.Registry`. As with the real one, a row that is missing is none the worse."""

        def effect() -> None:
            _demand(row.user_id not in self.users or self.users[row.user_id].etag == row.etag)
            self.users.pop(row.user_id, None)

        await self.perform("remove_user", effect)

    async def agenda(
        self, *, after: AgendaRow | None = None, until: datetime | None = None
    ) -> AsyncIterator[AgendaRow]:
        """See `ports.Registry`. It is read at once: what is yielded may be old by then."""

        def effect() -> list[AgendaRow]:
            return sorted(
                entry
                for entry in self.entries
                if (after is None or entry > after) and (until is None or entry.due <= until)
            )

        for entry in await self.perform("agenda", effect):
            yield entry

    async def active(self, continuation: str | None, size: int) -> Page:
        """See `ports.Registry`."""

        def effect() -> Page:
            behind = _behind(continuation)
            active = [row for row in self.rows.values() if row.state is State.ACTIVE]
            rest = sorted((row for row in active if row.id > behind), key=lambda row: row.id)
            more = len(rest) > size
            return Page(rest[:size], f"{_CONTINUATION}{rest[size - 1].id}" if more else None)

        return await self.perform("active", effect)

    def overtake(self, identity_id: str, **changes: object) -> None:
        """Change the row as somebody else would, between two steps of an operation."""
        row = self.rows[identity_id]
        self._put(row.due, row.but(**changes))

    def _put(self, due: datetime | None, row: IdentityRow) -> IdentityRow:
        """Write the row, which was due at `due` until now; as a batch, all or nothing."""
        self._reschedule(row.id, due, row.due)
        self.rows[row.id] = row.but(etag=self._version())
        return self.rows[row.id]

    def _put_user(self, user_id: str, identity_id: str) -> None:
        self.users[user_id] = UserRow(
            user_id=user_id, identity_id=identity_id, etag=self._version()
        )

    def _reschedule(self, identity_id: str, old: datetime | None, new: datetime | None) -> None:
        if old == new:
            return
        gone, come = (AgendaRow(due, identity_id) if due else None for due in (old, new))
        _demand(gone is None or gone in self.entries)
        _demand(come not in self.entries)
        self.entries -= {gone}
        self.entries |= {come} if come else set()

    def _version(self) -> str:
        self._versions += 1
        return f"version-{self._versions}"


def _demand(holds: bool) -> None:
    if not holds:
        raise RowChanged("refused")


def _behind(continuation: str | None) -> str:
    if continuation is None:
        return ""
    if not continuation.startswith(_CONTINUATION):
        raise InvalidQuery.continuation()
    return continuation.removeprefix(_CONTINUATION)
