"""The product's ports, with somebody at each remote call who may end the process there."""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeVar

import msgspec

from identity_service.clock import SystemClock
from identity_service.model import AccessToken, Scope
from identity_service.ports import Acs, Registry
from identity_service.rows import AgendaRow, IdentityRow, Page, UserRow

T = TypeVar("T")


class Moment(StrEnum):
    """When something befalls a remote call: before it is sent, or once its answer is there."""

    BEFORE = "before"
    AFTER = "after"


class Fate(msgspec.Struct, frozen=True):
    """What befalls the process: a signal, at its so-manieth remote call.

    Attributes:
        call: Counts the calls of `name` from 1, or all calls where no name is given.
    """

    signal: signal.Signals
    call: int
    moment: Moment
    name: str = ""


class Log:
    """The names of the remote calls so far, and what befalls the process at one of them.

    Attributes:
        names: Every call, in the order in which they began.
    """

    def __init__(self, fate: Fate | None, farewell: Callable[[str], None]) -> None:
        self.names: list[str] = []
        self._fate = fate
        self._farewell = farewell

    async def call(self, name: str, perform: Callable[[], Awaitable[T]]) -> T:
        """Perform the call, if the process lives to see it."""
        self.names.append(name)
        number = len(self.names)
        if self._fate and self._fate.name:
            number = self.names.count(name) if self._fate.name == name else 0
        self._meet(name, number, Moment.BEFORE)
        try:
            return await perform()
        finally:
            self._meet(name, number, Moment.AFTER)

    def _meet(self, name: str, number: int, moment: Moment) -> None:
        if self._fate and (number, moment) == (self._fate.call, self._fate.moment):
            self._farewell(name)
            os.kill(os.getpid(), self._fate.signal)


class WatchedAcs:
    """Implements `ports.Acs`: each method is the real one, logged."""

    def __init__(self, acs: Acs, log: Log) -> None:
        self._acs = acs
        self._log = log

    async def create(self) -> str:
        """See `ports.Acs`."""
        return await self._log.call("acs.create", self._acs.create)

    async def create_with_token(
        self, scopes: list[Scope], minutes: int | None
    ) -> tuple[str, AccessToken]:
        """See `ports.Acs`."""
        return await self._log.call(
            "acs.create", lambda: self._acs.create_with_token(scopes, minutes)
        )

    async def issue_token(
        self, identity_id: str, scopes: list[Scope], minutes: int | None
    ) -> AccessToken:
        """See `ports.Acs`."""
        return await self._log.call(
            "acs.issue_token", lambda: self._acs.issue_token(identity_id, scopes, minutes)
        )

    async def revoke_tokens(self, identity_id: str) -> None:
        """See `ports.Acs`."""
        await self._log.call("acs.revoke_tokens", lambda: self._acs.revoke_tokens(identity_id))

    async def delete(self, identity_id: str) -> None:
        """See `ports.Acs`."""
        await self._log.call("acs.delete", lambda: self._acs.delete(identity_id))

    async def exchange_teams_token(self, token: str, app_id: str, user_id: str) -> AccessToken:
        """See `ports.Acs`."""
        return await self._log.call(
            "acs.exchange", lambda: self._acs.exchange_teams_token(token, app_id, user_id)
        )


class WatchedRegistry:
    """Implements `ports.Registry`: each method is the real one, logged."""

    def __init__(self, registry: Registry, log: Log) -> None:
        self._registry = registry
        self._log = log

    async def read(self, identity_id: str) -> IdentityRow | None:
        """See `ports.Registry`."""
        return await self._log.call("read", lambda: self._registry.read(identity_id))

    async def insert(self, row: IdentityRow) -> IdentityRow:
        """See `ports.Registry`."""
        return await self._log.call("insert", lambda: self._registry.insert(row))

    async def update(self, old: IdentityRow, new: IdentityRow) -> IdentityRow:
        """See `ports.Registry`."""
        return await self._log.call("update", lambda: self._registry.update(old, new))

    async def remove(self, row: IdentityRow) -> None:
        """See `ports.Registry`."""
        await self._log.call("remove", lambda: self._registry.remove(row))

    async def read_user(self, user_id: str) -> UserRow | None:
        """See `ports.Registry`."""
        return await self._log.call("read_user", lambda: self._registry.read_user(user_id))

    async def insert_user(self, user_id: str, identity_id: str) -> None:
        """See `ports.Registry`."""
        await self._log.call(
            "insert_user", lambda: self._registry.insert_user(user_id, identity_id)
        )

    async def update_user(self, row: UserRow, identity_id: str) -> None:
        """See `ports.Registry`."""
        await self._log.call("update_user", lambda: self._registry.update_user(row, identity_id))

    async def remove_user(self, row: UserRow) -> None:
        """See `ports.Registry`."""
        await self._log.call("remove_user", lambda: self._registry.remove_user(row))

    async def agenda(
        self, *, after: AgendaRow | None = None, until: datetime | None = None
    ) -> AsyncIterator[AgendaRow]:
        """See `ports.Registry`. What befalls the process here does so at an entry."""
        entries = self._registry.agenda(after=after, until=until)

        async def following() -> AgendaRow | None:
            return await anext(entries, None)

        while entry := await self._log.call("agenda", following):
            yield entry

    async def active(self, continuation: str | None, size: int) -> Page:
        """See `ports.Registry`."""
        return await self._log.call("active", lambda: self._registry.active(continuation, size))


class AheadClock(SystemClock):
    """Implements `ports.Clock`: the machine's clock, so many seconds ahead."""

    def __init__(self, seconds: float) -> None:
        self._ahead = timedelta(seconds=seconds)

    def now(self) -> datetime:
        """The time it will be."""
        return datetime.now(UTC) + self._ahead
