"""Everything that the operations need, in memory, and the operations by their names."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from msgspec import UNSET

from identity_service.access_lifecycle import TeamsAccess
from identity_service.due_work import SweepReport
from identity_service.errors import AcsUnavailable, RegistryUnavailable, ServiceError
from identity_service.identity import LEASE, DueEntry, Identity, SignedInUser, State
from identity_service.lifecycle import Lifecycle
from identity_service.limits import Verifications
from identity_service.operations.deleted_identities import purge_identity, restore_identity
from identity_service.operations.identities import (
    create_identity,
    create_identity_with_token,
    delete_identity,
    resume_identity,
    suspend_identity,
)
from identity_service.operations.me import delete_me, restore_me
from identity_service.operations.registration import register_identity, unregister_identity
from identity_service.operations.status import Readiness
from identity_service.operations.teams_access import assign_teams_access, remove_teams_access
from identity_service.operations.tokens import issue_token, revoke_tokens
from identity_service.policies import SCOPES, CleanupPolicy, DeletionPolicy, TokenPolicy
from identity_service.ports import Conflict
from identity_service.resource import ResourceGuard
from identity_service.schemas import (
    AssignTeamsAccessRequest,
    CreateIdentityRequest,
    CreateIdentityWithTokenRequest,
    DeletionResponse,
    IdentityFoundResponse,
    IdentityResponse,
    IssuedTokenResponse,
    IssueTokenRequest,
    RegisterIdentityRequest,
    TeamsAccessResponse,
    UnregisterIdentityQuery,
)
from identity_service.sweep import purge_deleted_identities
from identity_service.teams_access import AccessState, Assignment
from tests.support.memory import (
    UNKNOWN,
    MemoryAccessRegistry,
    MemoryAcs,
    MemoryAssignments,
    MemoryRegistry,
)
from tests.support.virtual_time import VirtualClock

OBJECT_ID = "11111111-2222-3333-4444-555555555555"
TENANT_ID = "99999999-8888-7777-6666-555555555555"
ALICE = SignedInUser(f"aad/{TENANT_ID}/{OBJECT_ID}", OBJECT_ID)
# The application with which Alice may use Teams Phone, and what ACS holds then.
CLIENT_ID = "22222222-3333-4444-5555-666666666666"
ASSIGNMENT = Assignment("user", (CLIENT_ID,))
# Not a user of Entra.
BOB = SignedInUser("google/https://accounts.google.com/bob")

RETENTION = timedelta(days=7)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)

ACS_IS_DOWN = AcsUnavailable("planned by the test")
TABLE_IS_DOWN = RegistryUnavailable("planned by the test")
CONFLICT = Conflict("planned by the test")


class CheckedResource(ResourceGuard):
    """The check of a worker that has already made sure that it uses the right resource."""

    async def check(self) -> None:
        """See `ResourceGuard`."""

    async def accept(self, identity_id: str) -> None:
        """See `ResourceGuard`."""


class World:
    """One ACS resource, one registry, one clock, and the operator's policies."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.acs = MemoryAcs(self.clock)
        self.registry = MemoryRegistry()
        self.resource: ResourceGuard = CheckedResource(self.acs, self.registry, "")
        self.lifecycle = Lifecycle(self.acs, self.registry, self.clock)
        self.assignments = MemoryAssignments(self.clock)
        self.access_registry = MemoryAccessRegistry(self.clock)
        self.teams_access = TeamsAccess(self.assignments, self.access_registry, self.clock)
        self.deletion = DeletionPolicy(retention=RETENTION)
        self.cleanup = CleanupPolicy()
        self.service_tokens = TokenPolicy(SCOPES, default_minutes=1440, max_minutes=1440)
        self.user_tokens = TokenPolicy(("chat", "voip"), default_minutes=60, max_minutes=240)
        self.registered_only = False
        self.verifications = Verifications(1000)

    async def create(self, user_id: str | None = None) -> IdentityFoundResponse:
        """create_identity."""
        body = CreateIdentityRequest(user_id=user_id)
        return await create_identity(body, self.lifecycle)

    async def create_with_token(self, user_id: str | None = None) -> IssuedTokenResponse:
        """create_identity_with_token."""
        body = CreateIdentityWithTokenRequest(scopes=["chat"], user_id=user_id)
        return await create_identity_with_token(body, self.lifecycle, self.service_tokens)

    async def register(self, identity_id: str, user_id: str | None = None) -> IdentityResponse:
        """register_identity."""
        body = RegisterIdentityRequest(user_id=user_id)
        return await register_identity(identity_id, body, self.lifecycle, self.verifications)

    async def unregister(self, identity_id: str, user_id: str | None = None) -> None:
        """unregister_identity."""
        query = UnregisterIdentityQuery(user_id=UNSET if user_id is None else user_id)
        await unregister_identity(identity_id, query, self.lifecycle)

    async def issue(self, identity_id: str, minutes: int = 1440) -> IssuedTokenResponse:
        """issue_token."""
        body = IssueTokenRequest(scopes=["chat"], expires_in_minutes=minutes)
        return await issue_token(
            identity_id, body, self.lifecycle, self.service_tokens, self.registered_only
        )

    async def revoke(self, identity_id: str) -> None:
        """revoke_tokens."""
        await revoke_tokens(identity_id, self.lifecycle, self.registered_only)

    async def delete(self, identity_id: str) -> DeletionResponse:
        """delete_identity."""
        return await delete_identity(
            identity_id, self.lifecycle, self.deletion, self.registered_only
        )

    async def delete_unrevoked(self, identity_id: str) -> None:
        """delete_identity, while ACS fails."""
        self.acs.fails("revoke_tokens", ACS_IS_DOWN)
        with pytest.raises(AcsUnavailable):
            await self.delete(identity_id)

    async def delete_me(self, user: SignedInUser | None = None) -> DeletionResponse:
        """delete_me, by Alice or another user."""
        return await delete_me(user or ALICE, self.registry, self.lifecycle, self.deletion)

    async def suspend(self, identity_id: str) -> IdentityResponse:
        """suspend_identity."""
        return await suspend_identity(identity_id, self.lifecycle, self.registered_only)

    async def suspend_unrevoked(self, identity_id: str) -> None:
        """suspend_identity, while ACS fails."""
        self.acs.fails("revoke_tokens", ACS_IS_DOWN)
        with pytest.raises(AcsUnavailable):
            await self.suspend(identity_id)

    async def resume(self, identity_id: str) -> IdentityResponse:
        """resume_identity."""
        return await resume_identity(identity_id, self.lifecycle)

    async def restore_me(self, user: SignedInUser | None = None) -> IdentityResponse:
        """restore_me, by Alice or another user."""
        return await restore_me(user or ALICE, self.registry, self.lifecycle)

    async def restore(self, identity_id: str) -> IdentityResponse:
        """restore_identity."""
        return await restore_identity(identity_id, self.lifecycle)

    async def purge(self, identity_id: str) -> None:
        """purge_identity."""
        await purge_identity(identity_id, self.lifecycle, self.deletion)

    async def assign_access(
        self, object_id: str = OBJECT_ID, expires_on: datetime | None = None, **body: Any
    ) -> TeamsAccessResponse:
        """assign_teams_access, in Alice's tenant and with `ASSIGNMENT`."""
        sent = AssignTeamsAccessRequest(
            **{"principal_type": "user", "client_ids": [CLIENT_ID], **body}, expires_on=expires_on
        )
        return await assign_teams_access(TENANT_ID, object_id, sent, self.teams_access, self.clock)

    async def remove_access(self, object_id: str = OBJECT_ID) -> None:
        """remove_teams_access, in Alice's tenant."""
        await remove_teams_access(TENANT_ID, object_id, self.teams_access)

    async def access_in_every_state(self) -> dict[AccessState, str]:
        """The object id of access in each state that this release writes."""
        ids: dict[AccessState, str] = {
            state: str(uuid4()) for state in AccessState if state is not AccessState.UNKNOWN
        }
        for state in ("assigned", "removing", "removed"):
            await self.assign_access(ids[AccessState(state)])
        await self.remove_access(ids[AccessState.REMOVED])
        self.assignments.fails("put", ACS_IS_DOWN)
        assert await refusal(self.assign_access(ids[AccessState.ASSIGNING])) is AcsUnavailable
        self.assignments.fails("delete", ACS_IS_DOWN)
        assert await refusal(self.remove_access(ids[AccessState.REMOVING])) is AcsUnavailable
        return ids

    def readiness(self) -> Readiness:
        """The checks of one worker."""
        return Readiness(
            self.acs,
            self.registry,
            self.access_registry,
            self.clock,
            self.cleanup,
            self.resource,
        )

    async def sweep(self) -> SweepReport:
        """purge_deleted_identities."""
        return await purge_deleted_identities(
            self.lifecycle,
            self.registry,
            self.clock,
            self.cleanup,
            self.resource,
            self.teams_access,
        )

    async def in_state(self, state: State, user_id: str | None = None) -> str:
        """The id of an identity in this state."""
        identity_id: str = await getattr(self, state)(user_id)
        return identity_id

    async def active(self, user_id: str | None = None) -> str:
        """The id of an active identity."""
        return (await self.create(user_id)).id

    async def creating(self, user_id: str | None = None) -> str:
        """The id of an identity whose creation stopped before its last step."""
        self.registry.fails("update", TABLE_IS_DOWN)
        with pytest.raises(RegistryUnavailable):
            await self.create(user_id)
        return self.acs.identities[-1]

    async def registering(self, user_id: str | None = None) -> str:
        """The id of an identity whose registration stopped before its last step."""
        self.registry.fails("update", TABLE_IS_DOWN)
        identity_id = self.acs.add()
        with pytest.raises(RegistryUnavailable):
            await self.register(identity_id, user_id)
        return identity_id

    async def unknown(self, user_id: str | None = None) -> str:
        """The id of an identity whose row is not readable."""
        identity_id = await self.active(user_id)
        self.registry.change(identity_id, state=State.UNKNOWN, user_id=None)
        return identity_id

    async def suspended(self, user_id: str | None = None) -> str:
        """The id of a suspended and revoked identity."""
        identity_id = await self.active(user_id)
        await self.suspend(identity_id)
        return identity_id

    async def deleted(self, user_id: str | None = None) -> str:
        """The id of a deleted and revoked identity."""
        identity_id = await self.active(user_id)
        await self.delete(identity_id)
        return identity_id

    async def unrevoked(self, user_id: str | None = None) -> str:
        """The id of a deleted identity whose revocation failed."""
        identity_id = await self.active(user_id)
        await self.delete_unrevoked(identity_id)
        return identity_id

    async def half_suspended(self, user_id: str | None = None) -> str:
        """The id of a suspended identity whose revocation failed."""
        identity_id = await self.active(user_id)
        await self.suspend_unrevoked(identity_id)
        return identity_id

    async def purging(self, user_id: str | None = None) -> str:
        """The id of an identity whose purge failed in ACS."""
        identity_id = await self.deleted(user_id)
        self.acs.fails("delete", ACS_IS_DOWN)
        with pytest.raises(AcsUnavailable):
            await self.purge(identity_id)
        return identity_id

    async def adopted_unknown(self) -> str:
        """An id that ACS does not know, with an adopted row whose revocation failed."""
        await self.delete_unrevoked(UNKNOWN)
        return UNKNOWN

    def row(self, identity_id: str) -> Identity:
        """The identity's row, without its ETag."""
        return self.registry.rows[identity_id].with_etag("")

    def user_rows(self) -> dict[str, str]:
        """The identity that each user row names."""
        return {user_id: row.identity_id for user_id, row in self.registry.users.items()}

    def due_entries(self) -> list[DueEntry]:
        """The due entries in order."""
        return sorted(self.registry.entries)

    def change(self, identity_id: str, **changes: object) -> Callable[[], Awaitable[None]]:
        """Another caller's change of the row, to be made later."""

        async def change() -> None:
            self.registry.change(identity_id, **changes)

        return change

    def is_gone(self, identity_id: str) -> bool:
        """Whether neither ACS nor the registry knows the identity."""
        return not (
            identity_id in self.acs.identities
            or identity_id in self.registry.rows
            or identity_id in self.user_rows().values()
            or any(entry.identity_id == identity_id for entry in self.registry.entries)
        )

    def pass_lease(self) -> None:
        """Let more time pass than a lease lasts."""
        self.clock.advance(LEASE + SECOND)


async def refusal(call: Awaitable[object]) -> type[ServiceError]:
    """The class of the error that the call raises."""
    with pytest.raises(ServiceError) as caught:
        await call
    return caught.type
