"""How an identity comes to be, alone or for a user. docs/cleanup.md has the numbered steps."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from identity_service.errors import IdentityDeleted, RegistryUnavailable, ServiceError
from identity_service.events import Events
from identity_service.model import AccessToken
from identity_service.operations.steps import (
    ROUNDS,
    busy,
    claim_purge,
    finish_purge,
    release_user,
)
from identity_service.ports import Acs, Clock, Registry, RowChanged
from identity_service.rows import LEASE, IdentityRow, State, UserRow

events = Events(__name__)

# Creates an identity in ACS, with or without a token.
Maker = Callable[[], Awaitable[tuple[str, AccessToken | None]]]


class Made(NamedTuple):
    """An identity, new or found; `token` is the one it was made with, if any."""

    id: str
    is_new: bool
    token: AccessToken | None = None


class Creation:
    """One creation under way."""

    def __init__(self, acs: Acs, registry: Registry, clock: Clock) -> None:
        self._acs = acs
        self._registry = registry
        self._clock = clock

    async def make(self, maker: Maker, user_id: str | None) -> Made:
        """Make an identity; for a user who has one already, find it.

        Raises:
            IdentityDeleted: the user's identity is deleted.
            IdentityBusy: the user's identity is being purged, or others are faster all the time.
            RegistryUnavailable: the identity could not be recorded, or is not known to be.
        """
        claim = None
        if user_id is not None:
            claim = await self._registry.read_user(user_id)  # 0
            if claim and await self._exists(claim.identity_id):
                return Made(claim.identity_id, is_new=False)
        identity_id, token = await maker()  # 1
        row = await self._record(identity_id, user_id)  # 2
        if user_id is not None and not await self._claim(claim, user_id, identity_id):  # 2½
            return await self._lost(row, user_id)
        await self._activate(row)  # 3
        return Made(identity_id, is_new=True, token=token)  # 4

    async def _exists(self, identity_id: str) -> bool:
        """Whether the claimed identity is there. A half-made one is helped along; none dangles."""
        for _ in range(ROUNDS):
            row = await self._registry.read(identity_id)
            if row is None:
                return False
            match row.state:
                case State.ACTIVE:
                    return True
                case State.DELETED:
                    raise deleted(identity_id)
                case State.PURGING:
                    break
                case State.CREATING:
                    await self._help(row)
        raise busy()

    async def _help(self, row: IdentityRow) -> None:
        try:
            await self._registry.update(row, row.active())
        except RowChanged:
            events.info("creation_helped_by_others", identity_id=row.id)

    async def _record(self, identity_id: str, user_id: str | None) -> IdentityRow:
        now = self._clock.now()
        row = IdentityRow(
            id=identity_id,
            state=State.CREATING,
            user_id=user_id,
            created_on=now,
            due=now + LEASE,
        )
        try:
            return await self._registry.insert(row)
        except (RowChanged, RegistryUnavailable) as error:
            await self._give_back(identity_id)
            raise RegistryUnavailable("The new identity could not be recorded.") from error

    async def _give_back(self, identity_id: str) -> None:
        """Delete in ACS what could not be recorded. If it is recorded after all, the sweep does."""
        try:
            await self._acs.delete(identity_id)
        except ServiceError as error:
            events.error("identity_lost", identity_id=identity_id, code=error.code)

    async def _claim(self, claim: UserRow | None, user_id: str, identity_id: str) -> bool:
        """Whether the user row names this identity now, be it new or in place of a dangling one."""
        try:
            if claim:
                await self._registry.update_user(claim, identity_id)
            else:
                await self._registry.insert_user(user_id, identity_id)
        except RowChanged:
            return False
        return True

    async def _lost(self, row: IdentityRow, user_id: str) -> Made:
        """Somebody else made the user's identity first: take one's own away, and find theirs."""
        try:
            claimed = await claim_purge(row, self._registry, self._clock)
            await finish_purge(claimed, self._acs, self._registry, self._clock)
        except (ServiceError, RowChanged):
            events.warning("loser_left_to_the_sweep", identity_id=row.id)
        winner = await self._registry.read_user(user_id)
        if winner and await self._exists(winner.identity_id):
            return Made(winner.identity_id, is_new=False)
        raise busy()

    async def _activate(self, row: IdentityRow) -> None:
        """Make it active. This is also the read of the mark after minting."""
        try:
            await self._registry.update(row, row.active())
        except RowChanged as error:
            current = await self._registry.read(row.id)
            if current and current.state is State.ACTIVE:
                return
            if current and current.state is State.DELETED:
                raise deleted(row.id) from error
            with contextlib.suppress(RowChanged):  # another creator replaced the dangling claim
                await release_user(row, self._registry)
            raise busy() from error


def deleted(identity_id: str) -> IdentityDeleted:
    """The answer to a caller whose identity is deleted: how to get it back."""
    return IdentityDeleted(
        f"The identity is deleted: POST deleted-identities/{identity_id}/restore gives it back"
        " until it is purged."
    )
