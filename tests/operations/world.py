"""Everything the operations are given, in memory, and the operations by their names."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import get_args

import pytest
from msgspec import UNSET

from identity_service.errors import AcsUnavailable, RegistryUnavailable, ServiceError
from identity_service.model import (
    CleanupPolicy,
    DeletionPolicy,
    Identity,
    IssuedToken,
    Scope,
    TokenPolicy,
)
from identity_service.operations import (
    create_identity,
    create_identity_with_token,
    delete_identity,
    issue_token,
    purge_deleted_identities,
    purge_identity,
    restore_identity,
    revoke_tokens,
)
from identity_service.operations.create_identity import CreateIdentity, IdentityFound
from identity_service.operations.create_identity_with_token import CreateIdentityWithToken
from identity_service.operations.delete_identity import Deletion
from identity_service.operations.issue_token import IssueToken
from identity_service.operations.purge_deleted_identities import Report
from identity_service.ports import RowChanged
from identity_service.rows import LEASE, AgendaRow, IdentityRow
from tests.memory_acs import RESOURCE, MemoryAcs
from tests.memory_registry import MemoryRegistry
from tests.operations.virtual_time import VirtualClock

# Well-formed, and known to nobody.
UNKNOWN = f"{RESOURCE}_ffffffff-1111-2222-3333-444444444444"
RETENTION = timedelta(days=7)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)

ACS_IS_DOWN = AcsUnavailable("as the test wants it")
TABLE_IS_DOWN = RegistryUnavailable("as the test wants it")
CONFLICT = RowChanged("as the test wants it")


class World:
    """One ACS resource, one registry, one clock, and the operator's policies."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.acs = MemoryAcs(self.clock)
        self.registry = MemoryRegistry()
        self.deletion = DeletionPolicy(retention=RETENTION)
        self.cleanup = CleanupPolicy()
        self.service_tokens = TokenPolicy(get_args(Scope), default_minutes=1440, max_minutes=1440)
        self.registered_only = False

    async def create(self, user_id: str | None = None) -> IdentityFound:
        """create_identity, for the user if one is given."""
        body = CreateIdentity(user_id=UNSET if user_id is None else user_id)
        return await create_identity(body, self.acs, self.registry, self.clock)

    async def create_with_token(self, user_id: str | None = None) -> IssuedToken:
        """create_identity_with_token, for the user if one is given."""
        body = CreateIdentityWithToken(
            scopes=["chat"], user_id=UNSET if user_id is None else user_id
        )
        return await create_identity_with_token(
            body, self.acs, self.registry, self.clock, self.service_tokens
        )

    async def issue(self, identity_id: str, minutes: int = 1440) -> IssuedToken:
        """issue_token."""
        return await issue_token(
            identity_id,
            IssueToken(scopes=["chat"], expires_in_minutes=minutes),
            self.acs,
            self.registry,
            self.service_tokens,
            self.registered_only,
        )

    async def revoke(self, identity_id: str) -> None:
        """revoke_tokens."""
        await revoke_tokens(identity_id, self.acs, self.registry, self.registered_only)

    async def delete(self, identity_id: str) -> Deletion:
        """delete_identity."""
        return await delete_identity(
            identity_id,
            self.acs,
            self.registry,
            self.clock,
            self.deletion,
            self.registered_only,
        )

    async def restore(self, identity_id: str) -> Identity:
        """restore_identity."""
        return await restore_identity(identity_id, self.acs, self.registry)

    async def purge(self, identity_id: str) -> None:
        """purge_identity."""
        await purge_identity(identity_id, self.acs, self.registry, self.clock, self.deletion)

    async def sweep(self) -> Report:
        """purge_deleted_identities."""
        return await purge_deleted_identities(self.acs, self.registry, self.clock, self.cleanup)

    async def active(self, user_id: str | None = None) -> str:
        """An active identity."""
        return (await self.create(user_id)).id

    async def creating(self, user_id: str | None = None) -> str:
        """An identity whose creator died before it was active; its user row is there."""
        self.registry.fails("update", TABLE_IS_DOWN)
        with pytest.raises(RegistryUnavailable):
            await self.create(user_id)
        return self.acs.identities[-1]

    async def deleted(self, user_id: str | None = None) -> str:
        """A deleted identity, its tokens revoked."""
        identity_id = await self.active(user_id)
        await self.delete(identity_id)
        return identity_id

    async def unrevoked(self, user_id: str | None = None) -> str:
        """A deleted identity whose revocation ACS has not answered."""
        identity_id = await self.active(user_id)
        self.acs.fails("revoke_tokens", ACS_IS_DOWN)
        with pytest.raises(AcsUnavailable):
            await self.delete(identity_id)
        return identity_id

    async def purging(self, user_id: str | None = None) -> str:
        """An identity whose purge ACS has not answered."""
        identity_id = await self.deleted(user_id)
        self.acs.fails("delete", ACS_IS_DOWN)
        with pytest.raises(AcsUnavailable):
            await self.purge(identity_id)
        return identity_id

    async def phantom(self) -> str:
        """The mark on an id that nobody knows, its revocation not answered."""
        self.acs.fails("revoke_tokens", ACS_IS_DOWN)
        with pytest.raises(AcsUnavailable):
            await self.delete(UNKNOWN)
        return UNKNOWN

    def row(self, identity_id: str) -> IdentityRow:
        """The identity's row, which is there; its ETag left out."""
        return self.registry.rows[identity_id].but(etag="")

    def claims(self) -> dict[str, str]:
        """The identity that each user claims."""
        return {user_id: row.identity_id for user_id, row in self.registry.users.items()}

    def agenda(self) -> list[AgendaRow]:
        """What is due, and when."""
        return sorted(self.registry.entries)

    def overtake(self, identity_id: str, **changes: object) -> Callable[[], Awaitable[None]]:
        """Somebody else's change of the row, to be done later."""

        async def change() -> None:
            self.registry.overtake(identity_id, **changes)

        return change

    def is_gone(self, identity_id: str) -> bool:
        """Whether neither ACS nor the registry knows the identity any more."""
        return not (
            identity_id in self.acs.identities
            or identity_id in self.registry.rows
            or identity_id in self.claims().values()
            or any(entry.identity_id == identity_id for entry in self.registry.entries)
        )

    def pass_lease(self) -> None:
        """Let the time pass that a dead operation has."""
        self.clock.forward(LEASE + SECOND)


async def refusal(call: Awaitable[object]) -> type[ServiceError]:
    """The kind of error with which the call ends."""
    with pytest.raises(ServiceError) as caught:
        await call
    return caught.type
