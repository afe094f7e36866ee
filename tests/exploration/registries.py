"""Registries that break a rule each."""

from identity_service.ports import RowChanged
from identity_service.rows import AgendaRow, IdentityRow, UserRow
from tests.exploration.stage import GatedRegistry


class Torn(GatedRegistry):
    """Changes a row first, and then lets it into the agenda."""

    async def update(self, old: IdentityRow, new: IdentityRow) -> IdentityRow:
        """See `ports.Registry`."""
        due = new.due
        if old.due or due is None:
            return await super().update(old, new)

        def change() -> IdentityRow:
            if old.id not in self.rows or self.rows[old.id].etag != old.etag:
                raise RowChanged("refused")
            self.rows[old.id] = new.but(etag=self._version())
            return self.rows[old.id]

        changed = await self.perform("update", change)
        await self.perform("reschedule", lambda: self.entries.add(AgendaRow(due, new.id)))
        return changed


class Careless(GatedRegistry):
    """Takes a user row away whatever its version."""

    async def remove_user(self, row: UserRow) -> None:
        """See `ports.Registry`."""
        await self.perform("remove_user", lambda: self.users.pop(row.user_id, None))


class Blind(GatedRegistry):
    """Changes an identity row whatever its version."""

    async def update(self, old: IdentityRow, new: IdentityRow) -> IdentityRow:
        """See `ports.Registry`."""

        def effect() -> IdentityRow:
            current = self.rows.get(old.id)
            return self._put(current.due if current else None, new)

        return await self.perform("update", effect)
