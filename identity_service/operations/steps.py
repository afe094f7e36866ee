"""Steps that several operations share. docs/cleanup.md says why they stand in this order."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from identity_service.errors import IdentityBusy, IdentityNotFound, IdentityNotKnownYet
from identity_service.ports import Acs, Clock, Registry, RowChanged
from identity_service.rows import LEASE, IdentityRow, State

T = TypeVar("T")

ROUNDS = 4
# ACS was seen to answer "doesn't exist" of an identity it had just made: until an identity has
# this age, not found is no proof that it is gone.
YOUNG = timedelta(hours=1)


async def in_rounds(decide: Callable[[], Awaitable[T]]) -> T:
    """Read and decide; where somebody else was faster, read again and decide anew.

    Raises:
        IdentityBusy: somebody else was faster every time.
    """
    for _ in range(ROUNDS):
        try:
            return await decide()
        except RowChanged:
            continue
    raise busy()


def busy() -> IdentityBusy:
    """The answer to a caller who met others at work."""
    return IdentityBusy("Others are changing this identity: ask again.", retry_after=1)


async def revoke(row: IdentityRow, acs: Acs, registry: Registry) -> None:
    """Revoke in ACS (delete's step 3). An identity that ACS does not know has no tokens.

    Raises:
        IdentityNotFound: there never was one: the row, born in a delete, goes out again.
    """
    try:
        await acs.revoke_tokens(row.id)
    except IdentityNotFound:
        if row.adopted:
            await registry.remove(row)
            raise


async def record_revocation(row: IdentityRow, registry: Registry) -> IdentityRow:
    """Write down that the revocation which followed this deletion was taken (delete's step 4)."""
    revoked = row.but(revoked=True, due=row.scheduled_purge_on, attempts=0, last_error=None)
    return await registry.update(row, revoked)


async def claim_purge(row: IdentityRow, registry: Registry, clock: Clock) -> IdentityRow:
    """Claim the purge (purge's step 2): this ETag decides between a purge and a restore."""
    soon = clock.now() + LEASE
    due = soon if row.due is None else min(row.due, soon)
    return await registry.update(row, row.but(state=State.PURGING, due=due))


async def finish_purge(row: IdentityRow, acs: Acs, registry: Registry, clock: Clock) -> None:
    """Delete in ACS, let go of the user, take the row out (purge's steps 3 to 5)."""
    try:
        await acs.delete(row.id)
    except IdentityNotFound as error:
        if row.created_on and clock.now() - row.created_on < YOUNG:
            raise IdentityNotKnownYet("ACS does not know this new identity yet.") from error
    await release_user(row, registry)
    await registry.remove(row)


async def release_user(row: IdentityRow, registry: Registry) -> None:
    """Take away the user's claim, where it is still on this identity (purge's step 4)."""
    if row.user_id is None:
        return
    claim = await registry.read_user(row.user_id)
    if claim and claim.identity_id == row.id:
        await registry.remove_user(claim)
