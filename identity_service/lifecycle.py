"""The identity protocol: every step that keeps identities and tokens safe.

docs/cleanup.md describes the protocol. The numbers in the comments are the numbers of its steps.
Their order matters: tests/exploration/mutations.py shows what each rule prevents.

Two rules hold everywhere. If a write is refused (`Conflict`), the operation reads the row again and
decides again, in at most `ROUNDS` rounds. If the result of a call is unknown, the operation stops:
it never assumes a result and never undoes anything.

Each change of an identity writes one line to the log, whoever makes it: a request, possibly one
whose caller has already got an error, or the sweep.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from identity_service.errors import (
    DeletedByService,
    IdentityBusy,
    IdentityDeleted,
    IdentityGone,
    IdentityNotDeleted,
    IdentityNotFound,
    IdentityNotKnownYet,
    IdentityNotReadable,
    IdentitySuspended,
    IdentityUnfinished,
    PurgeProtected,
    RegistryUnavailable,
    ServiceError,
    UserHasIdentity,
    UserMismatch,
    WrongResource,
)
from identity_service.identity import Actor, Identity, State, UserRow
from identity_service.log import EventLog, current_invocation
from identity_service.policies import VERIFICATION, AccessToken, DeletionPolicy, TokenGrant
from identity_service.ports import Acs, Clock, Conflict, Registry

ROUNDS = 4

events = EventLog(__name__)


class Created(NamedTuple):
    """The identity that a creation returns.

    Attributes:
        is_new: False if the user already had it.
        token: Its token, if one was requested.
    """

    identity_id: str
    is_new: bool
    token: AccessToken | None = None


class _Mark(NamedTuple):
    """A deletion or a suspension: written first, so that no token is returned from then on.

    Attributes:
        state: The state that it leads to.
        require: Raises an error if the identity is in a state that does not allow it.
        write: The row with the mark.
        repeat: The row that a repetition writes.
        log: Logs that the mark was written.
    """

    state: State
    require: Callable[[Identity | None], None]
    write: Callable[[Identity, datetime], Identity]
    repeat: Callable[[Identity], Identity]
    log: Callable[[str], None]


def _deletion(
    policy: DeletionPolicy, by: Actor, require: Callable[[Identity | None], None]
) -> _Mark:
    return _Mark(
        State.DELETED,
        require=require,
        write=lambda identity, now: identity.delete(now, policy.retention, by),
        repeat=lambda identity: identity.take_over_deletion(by),
        log=lambda identity_id: events.info(
            "identity_deleted", identity_id=identity_id, deleted_by=by
        ),
    )


def _suspension() -> _Mark:
    return _Mark(
        State.SUSPENDED,
        require=_require_suspendable,
        write=Identity.suspend,
        repeat=lambda identity: identity,
        log=lambda identity_id: events.info("identity_suspended", identity_id=identity_id),
    )


async def _accept_any(_: str) -> None:
    """Accept the identity of any resource."""


class Lifecycle:
    """Everything that changes an identity, or issues a token for one.

    Args:
        acs: The ACS resource.
        registry: The registry.
        clock: The time.
        accept: Raises `WrongResource` if an id that ACS has, newly created or verified, does not
            belong in this registry.
    """

    def __init__(
        self,
        acs: Acs,
        registry: Registry,
        clock: Clock,
        accept: Callable[[str], Awaitable[None]] = _accept_any,
    ) -> None:
        self._acs = acs
        self._registry = registry
        self._clock = clock
        self._accept = accept

    # Creation

    async def create(self, user_id: str | None) -> Created:
        """Create an identity. A user has one identity: if there is one, it is returned.

        Raises:
            IdentityDeleted: the user's identity is deleted.
            IdentitySuspended: it is suspended.
            IdentityBusy: the user's identity is being registered, or there were too many conflicts.
            RegistryUnavailable: the identity was not recorded, or it is unknown whether it was.
        """
        return await self._create(user_id, None)

    async def create_with_token(
        self, user_id: str | None, grant: TokenGrant
    ) -> tuple[Created, AccessToken]:
        """Create an identity with its first token. An existing identity gets a new token.

        Raises: as `create` and `issue_token`.
        """
        for _ in range(ROUNDS):
            created = await self._create(user_id, grant)
            if created.token:
                return created, created.token
            token = await self._issue(created.identity_id, grant)
            identity = await self._registry.read(created.identity_id)
            if identity and identity.user_id == user_id and identity.state is not State.PURGING:
                _require_active(identity)
                return created, token
        raise _busy()

    async def _create(self, user_id: str | None, grant: TokenGrant | None) -> Created:
        user_row = None
        if user_id is not None:
            user_row = await self._registry.read_user(user_id)  # 0
            if user_row and await self._exists(user_row):
                return Created(user_row.identity_id, is_new=False)
        identity_id, token = await self._create_in_acs(grant)  # 1
        identity = await self._record(identity_id, user_id)  # 2
        if user_id is not None and not await self._assign(user_id, user_row, identity_id):  # 2½
            return await self._use_existing(identity, user_id)
        await self._activate(identity)  # 3
        return Created(identity_id, is_new=True, token=token)  # 4

    async def _create_in_acs(self, grant: TokenGrant | None) -> tuple[str, AccessToken | None]:
        if grant is None:
            return await self._acs.create(), None
        return await self._acs.create_with_token(grant)

    async def _exists(self, user_row: UserRow) -> bool:
        """Whether the user row counts, and its identity is active. Finishes its creation if needed.

        Raises:
            IdentityDeleted: the identity is deleted.
            IdentitySuspended: it is suspended.
            IdentityBusy: it is being registered, or there were too many conflicts.
        """
        current_invocation().identity_id = user_row.identity_id
        for _ in range(ROUNDS):
            identity = await self._counted(user_row)
            if identity is None:
                return False
            match identity.state:
                case State.ACTIVE:
                    return True
                case State.CREATING:
                    await self._finish_creation(identity)
                case _:
                    _require_unmarked(identity)
                    break
        raise _busy()

    async def _counted(self, user_row: UserRow) -> Identity | None:
        """The identity that the user row names. None if the user row does not count."""
        identity = await self._registry.read(user_row.identity_id)
        if identity is None:
            return None
        _require_readable(identity)
        return identity if identity.belongs_to(user_row.user_id) else None

    async def _finish_creation(self, identity: Identity) -> None:
        try:
            await self._registry.update(identity, identity.finish_creation())
        except Conflict:
            events.info("creation_finished_by_other_call", identity_id=identity.id)
        else:
            events.info("identity_activated", identity_id=identity.id)

    async def _record(self, identity_id: str, user_id: str | None) -> Identity:
        current_invocation().identity_id = identity_id
        identity = Identity.create(identity_id, user_id, self._clock.now())
        try:
            await self._accept(identity_id)
            return await self._registry.insert(identity)
        except WrongResource:
            await self._delete_unrecorded(identity_id)
            raise
        except (Conflict, RegistryUnavailable) as error:
            await self._delete_unrecorded(identity_id)
            raise RegistryUnavailable("The new identity could not be recorded.") from error

    async def _delete_unrecorded(self, identity_id: str) -> None:
        """Delete it in ACS. If it was recorded after all, the sweep deletes it."""
        try:
            await self._acs.delete(identity_id)
        except ServiceError as error:
            events.error("identity_lost", identity_id=identity_id, code=error.code)
        else:
            events.info("creation_undone", identity_id=identity_id)

    async def _assign(self, user_id: str, existing: UserRow | None, identity_id: str) -> bool:
        """Let the user row name this identity. False if another creation was faster."""
        try:
            if existing:
                await self._registry.replace_user(existing, identity_id)
            else:
                await self._registry.insert_user(user_id, identity_id)
        except Conflict:
            return False
        return True

    async def _use_existing(self, duplicate: Identity, user_id: str) -> Created:
        """Another creation was faster: purge our own identity and return the other one."""
        try:
            await self.finish_purge(await self.start_purge(duplicate))
        except (ServiceError, Conflict):
            events.warning("duplicate_left_to_sweep", identity_id=duplicate.id)
        user_row = await self._registry.read_user(user_id)
        if user_row and await self._exists(user_row):
            return Created(user_row.identity_id, is_new=False)
        raise _busy()

    async def _activate(self, identity: Identity) -> None:
        """Make it active. This also proves that it was not deleted after its token was issued.

        Without a user nobody could find it, so it is made active only while the caller waits.
        Otherwise it stays as it is, and the sweep purges it.

        If that fails, the user row is left alone: it does not count, or another call has taken it
        over.
        """
        try:
            await self._registry.update(
                identity, identity.finish_creation(), if_awaited=identity.user_id is None
            )
        except Conflict as error:
            current = await self._registry.read(identity.id)
            if current and current.user_id == identity.user_id:
                if current.state is State.ACTIVE:
                    return
                _require_unmarked(current)
            raise _busy() from error
        events.info("identity_activated", identity_id=identity.id)

    # Registration

    async def register(
        self, identity_id: str, user_id: str | None, admit: Callable[[], Awaitable[None]]
    ) -> tuple[Identity, bool]:
        """Register an identity that was created elsewhere. Returns whether this call did it.

        ACS is asked whether it exists. A registration that fails removes its own rows, or the sweep
        does it, and never touches the identity in ACS.

        Args:
            identity_id: The identity.
            user_id: Its user, if any.
            admit: Waits until ACS may be asked.

        Raises:
            IdentityNotFound: ACS has no such identity in this resource, or it is being purged.
            UserMismatch: it is registered for another user, or for none.
            UserHasIdentity: the user has another identity.
            IdentityDeleted: it is deleted.
            IdentitySuspended: it is suspended.
            IdentityBusy: it is being created, or registered for another user, or there were too
                many conflicts.
        """
        for _ in range(ROUNDS):
            with suppress(Conflict):
                identity = await self._registry.read(identity_id)  # 1
                if identity and identity.state is State.ACTIVE:
                    if user_id not in (None, identity.user_id):
                        raise _mismatch(
                            identity_id,
                            "The identity is registered for another user, or for none. To change"
                            f" that, unregister it first: DELETE identities/{identity_id}/"
                            "registration.",
                        )
                    return await self._registry.update(identity, identity), False
                _require_registrable(identity, user_id)
                await admit()
                if identity is None:
                    registering = Identity.register(identity_id, user_id, self._clock.now())
                    identity = await self._registry.insert(registering)  # 2
                await self._verify(identity)  # 3
                await self._claim_user(identity)  # 4
                identity = await self._registry.update(
                    identity, identity.finish_registration()
                )  # 5
                events.info("identity_registered", identity_id=identity_id)
                return identity, True
        raise _busy()

    async def _verify(self, identity: Identity) -> None:
        """Ask ACS whether it has the identity. If not, roll back."""
        try:
            await self._acs.issue_token(identity.id, VERIFICATION)
        except (IdentityNotFound, WrongResource) as error:
            await self._give_up(identity)
            raise IdentityNotFound("ACS has no such identity in this resource.") from error
        try:
            await self._accept(identity.id)
        except WrongResource:
            await self._give_up(identity)
            raise

    async def _claim_user(self, identity: Identity) -> None:
        """Let the user row name the identity. If the user has another identity, roll back."""
        if identity.user_id is None:
            return
        for _ in range(ROUNDS):
            with suppress(Conflict):
                await self._registry.insert_user(identity.user_id, identity.id)
                return
            user_row = await self._registry.read_user(identity.user_id)
            if user_row is None:
                continue
            is_own = user_row.identity_id == identity.id
            other = None if is_own else await self._counted(user_row)
            if other:
                await self._give_up(identity)
                if other.state in (State.ACTIVE, State.SUSPENDED, State.DELETED):
                    raise UserHasIdentity(
                        "A user has one identity. Unregister the other one first, or delete and"
                        " purge it.",
                        identity_id=other.id,
                    )
                raise _busy()
            with suppress(Conflict):
                # Even if it names this identity: its ETag keeps a rollback from deleting it.
                await self._registry.replace_user(user_row, identity.id)
                return
        raise _busy()

    async def _give_up(self, identity: Identity) -> None:
        with suppress(Conflict):  # another registration has taken over
            await self.roll_back(identity)

    async def unregister(self, identity_id: str, user_id: str | None) -> None:
        """Forget an active identity. ACS is not called: the identity and its tokens live on.

        Args:
            identity_id: The identity.
            user_id: The user that it must belong to, if any is given.

        Raises:
            IdentityNotFound: the registry has no such identity, or it is being purged.
            UserMismatch: it belongs to another user, or to none.
            IdentityDeleted: it is deleted.
            IdentitySuspended: it is suspended.
            IdentityBusy: it is being created, or there were too many conflicts.
        """
        for _ in range(ROUNDS):
            with suppress(Conflict):
                identity = _require_unregistrable(await self._registry.read(identity_id))  # 1
                if user_id not in (None, identity.user_id):
                    raise _mismatch(
                        identity_id, "The identity belongs to another user, or to none."
                    )
                user_row = await self._user_row_of(identity)  # 2
                await self._registry.remove(identity)  # 3
                events.info("identity_unregistered", identity_id=identity_id)
                if user_row:
                    with suppress(Conflict):  # another identity has taken it over
                        await self._registry.remove_user(user_row)  # 4
                return
        raise _busy()

    # Tokens

    async def issue_token(
        self, identity_id: str, grant: TokenGrant, *, registered_only: bool
    ) -> AccessToken:
        """Issue a token, and return it only if the identity is not deleted and not suspended.

        The row is read after ACS has created the token, never before and never in parallel. A token
        that is older than a mark is killed by the revocation that follows the mark. For a newer
        token, this read finds the mark, and the token is dropped.

        Raises:
            IdentityNotFound: the identity does not exist, or is not registered as required.
            IdentityGone: the registry has it, but ACS no longer does.
            IdentityDeleted: it is deleted or being purged.
            IdentitySuspended: it is suspended.
            IdentityUnfinished: it is still being created.
            IdentityNotKnownYet: ACS does not know it, and it is too young for this to be a proof.
            WrongResource: it is registered, but belongs to another ACS resource.
        """
        token = await self._issue(identity_id, grant)  # 1
        identity = await self._registry.read(identity_id)  # 2
        if identity is None or identity.state is State.REGISTERING:
            if registered_only:
                raise _not_registered()
            return token
        _require_active(identity)
        return token

    async def _issue(self, identity_id: str, grant: TokenGrant) -> AccessToken:
        asked_on = self._clock.now()
        try:
            return await self._acs.issue_token(identity_id, grant)
        except IdentityNotFound as refusal:
            identity = await self._registry.read(identity_id)
            if identity:
                _require_old(identity, asked_on)
                _require_not_gone(identity, refusal)
            raise
        except WrongResource as refusal:
            identity = await self._registry.read(identity_id)
            if identity is None or identity.state is State.REGISTERING:
                raise IdentityNotFound(refusal.detail) from refusal
            _require_active(identity)
            raise

    async def revoke_tokens(self, identity_id: str, *, registered_only: bool) -> None:
        """Revoke all tokens issued so far. New tokens can be issued afterwards.

        Raises:
            IdentityNotFound: the identity does not exist, or is not registered as required.
            IdentityGone: the registry has it, but ACS no longer does.
            IdentityNotKnownYet: ACS does not know it, and it is too young for this to be a proof.
            WrongResource: it is registered, but belongs to another ACS resource.
        """
        if registered_only and await self._registry.read(identity_id) is None:
            raise _not_registered()
        asked_on = self._clock.now()
        try:
            await self._acs.revoke_tokens(identity_id, if_awaited=True)
        except (IdentityNotFound, WrongResource) as refusal:
            identity = await self._registry.read(identity_id)
            if identity is None:
                raise IdentityNotFound(refusal.detail) from refusal
            if isinstance(refusal, IdentityNotFound):
                _require_old(identity, asked_on)
                _require_not_gone(identity, refusal)
            raise

    # Suspension and deletion

    async def suspend(self, identity_id: str, *, registered_only: bool) -> Identity:
        """Mark the identity as suspended, then revoke its tokens. Repeating it finishes the rest.

        Args:
            identity_id: The identity.
            registered_only: Whether an identity without a row is refused.

        Raises:
            IdentityNotFound: it does not exist, is being created or purged, or is not registered
                as required.
            IdentityDeleted: it is deleted.
            IdentityBusy: it is being registered, or there were too many conflicts.
        """
        return await self._mark_and_revoke(
            identity_id, _suspension(), registered_only=registered_only
        )

    async def resume(self, identity_id: str) -> Identity:
        """Make a suspended identity active again. Its old tokens stay revoked.

        Raises:
            IdentityNotFound: the registry has no such identity, or it is being created or purged.
            IdentityDeleted: it is deleted: restore it first.
            IdentityBusy: it is being registered, or there were too many conflicts.
        """
        for _ in range(ROUNDS):
            with suppress(Conflict):
                identity = _require_resumable(await self._registry.read(identity_id))  # 1
                if identity.state is State.ACTIVE:
                    return await self._registry.update(identity, identity)
                if not identity.revoked:
                    await self.revoke(identity)  # 2
                resumed = await self._registry.update(identity, identity.resume())  # 3
                events.info("identity_resumed", identity_id=identity_id)
                return resumed
        raise _busy()

    async def delete(
        self, identity_id: str, policy: DeletionPolicy, *, registered_only: bool
    ) -> Identity:
        """Mark the identity as deleted, then revoke its tokens. Repeating it finishes the rest.

        A service deletes it, so its user cannot restore it, even if the user had deleted it first.

        Args:
            identity_id: The identity.
            policy: How long it can be restored.
            registered_only: Whether an identity without a row is refused.

        Raises:
            IdentityNotFound: it does not exist, is being created or purged, or is not registered
                as required.
            IdentityBusy: it is being registered, or there were too many conflicts.
        """
        mark = _deletion(policy, Actor.SERVICE, _require_deletable)
        return await self._mark_and_revoke(identity_id, mark, registered_only=registered_only)

    async def delete_own(self, identity_id: str, policy: DeletionPolicy, user_id: str) -> Identity:
        """As `delete`, for the user of the identity, who can restore it.

        Raises:
            IdentityNotFound: it is not registered, not the user's, or is being created or purged.
            IdentitySuspended: it is suspended.
            IdentityBusy: it is being registered, or there were too many conflicts.
        """

        def require(identity: Identity | None) -> None:
            _require_deletable(_require_own(identity, user_id))
            _require_not_suspended(identity)

        mark = _deletion(policy, Actor.USER, require)
        return await self._mark_and_revoke(identity_id, mark, registered_only=True)

    async def _mark_and_revoke(
        self, identity_id: str, mark: _Mark, *, registered_only: bool
    ) -> Identity:
        """Steps 1 to 5 of delete and of suspend."""
        marked: Identity | None = None
        for _ in range(ROUNDS):
            with suppress(Conflict):
                identity = await self._registry.read(identity_id)  # 1
                if marked and marked.adopted and not _is_confirmed(identity, marked):
                    marked = None  # our row was removed: nothing is ours
                if marked and not (identity and identity.has_mark_of(marked)):
                    return marked  # since our revocation: undone, purged, or marked again
                mark.require(identity)
                if identity and identity.state is mark.state and marked is None:
                    identity = await self._repeat(identity, mark.repeat(identity))
                if identity and identity.state is mark.state and identity.revoked:
                    return identity
                marked_now = await self._write_mark(identity_id, identity, mark, registered_only)
                await self.revoke(marked_now)  # 3
                # Not earlier: after a conflict in the revocation, nothing is ours yet.
                marked = marked_now
                return await self._record_revocation(marked)  # 4, 5
        raise _busy()

    async def _repeat(self, identity: Identity, repeated: Identity) -> Identity:
        """Write the row of a mark again, so that no write that is on its way can undo the mark."""
        written = await self._registry.update(identity, repeated)
        if written.deleter is not identity.deleter:
            events.info("deletion_taken_over", identity_id=identity.id)
        return written

    async def _write_mark(
        self, identity_id: str, identity: Identity | None, mark: _Mark, registered_only: bool
    ) -> Identity:
        """Step 2 of delete and of suspend, unless an earlier call has done it."""
        now = self._clock.now()
        if identity is None:
            if registered_only:
                raise _not_registered()
            adopted = mark.write(Identity.adopt(identity_id, now), now)
            marked = await self._registry.insert(adopted)
        elif identity.state is mark.state:
            return identity
        else:
            marked = await self._registry.update(identity, mark.write(identity, now))
        mark.log(identity_id)
        return marked

    async def restore(self, identity_id: str) -> Identity:
        """Undo a deletion. The identity is active or suspended again; old tokens stay revoked.

        Raises:
            IdentityNotFound: there is no such deleted identity, or it is being purged.
            IdentityBusy: there were too many conflicts, or a suspension is not finished.
        """
        return await self._restore(identity_id, _require_restorable)

    async def restore_own(self, identity_id: str, user_id: str) -> Identity:
        """As `restore`, for the user of the identity.

        Raises:
            IdentityNotFound: there is no such deleted identity, it is being purged, or it is not
                the user's.
            DeletedByService: a service has deleted it.
            IdentityBusy: there were too many conflicts, or a suspension is not finished.
        """

        def require(identity: Identity | None) -> Identity:
            own = _require_restorable(_require_own(identity, user_id))
            if own.state is State.DELETED and own.deleter is Actor.SERVICE:
                raise DeletedByService("A service has deleted it. Only a service can restore it.")
            return own

        return await self._restore(identity_id, require)

    async def _restore(
        self, identity_id: str, require: Callable[[Identity | None], Identity]
    ) -> Identity:
        for _ in range(ROUNDS):
            with suppress(Conflict):
                identity = require(await self._registry.read(identity_id))  # 1
                if identity.state in (State.ACTIVE, State.SUSPENDED):
                    return await self._registry.update(identity, identity)
                if not identity.revoked:
                    await self.revoke(identity)  # 2
                restored = await self._registry.update(identity, identity.restore())  # 3
                events.info(
                    "identity_restored", identity_id=identity_id, deleted_by=identity.deleter
                )
                return restored
        raise _busy()

    async def purge(self, identity_id: str, policy: DeletionPolicy) -> None:
        """Delete a deleted identity in ACS, with its data. This cannot be undone.

        Raises:
            PurgeProtected: the settings do not allow it.
            IdentityNotFound: there is no such deleted identity.
            IdentityNotDeleted: it is active or being created.
            IdentityBusy: there were too many conflicts.
        """
        if policy.purge_protection:
            raise PurgeProtected("PURGE_PROTECTION is on: the sweep purges the identity when due.")
        started = False
        for _ in range(ROUNDS):
            with suppress(Conflict):
                identity = await self._registry.read(identity_id)  # 1
                if identity is None:
                    if started:
                        return  # another call finished our purge
                    raise IdentityNotFound("There is no such deleted identity.")
                _require_readable(identity)
                if identity.state not in (State.DELETED, State.PURGING):
                    raise IdentityNotDeleted("Delete it first: DELETE identities/{id}.")
                if identity.state is State.DELETED:
                    if identity.adopted:  # ACS was never asked whether it exists
                        await self.revoke(identity)
                    identity = await self.start_purge(identity)  # 2
                started = True
                await self.finish_purge(identity)  # 3, 4, 5
                return
        raise _busy()

    # Steps that the sweep also takes

    async def revoke(self, identity: Identity) -> None:
        """Revoke the tokens of a deleted or suspended identity in ACS (step 3 of both).

        Raises:
            IdentityNotFound: ACS does not know an identity that was created elsewhere, so it never
                existed in this resource. Its row is removed.
            IdentityNotKnownYet: ACS does not know it, and it is too young for this to be a proof.
                An older one that ACS does not know has no tokens, which is as good as revoked.
            WrongResource: it belongs to another ACS resource.
        """
        asked_on = self._clock.now()
        try:
            await self._acs.revoke_tokens(identity.id)
        except (IdentityNotFound, WrongResource) as refusal:
            if identity.adopted:
                await self._registry.remove(identity)
                events.info("identity_forgotten", identity_id=identity.id)
                raise IdentityNotFound(refusal.detail) from refusal
            if isinstance(refusal, WrongResource):
                raise
            _require_old(identity, asked_on)

    async def finish_revocation(self, identity: Identity) -> None:
        """Revoke and record it (steps 3 and 4 of delete and of suspend).

        Raises: as `revoke`.
        """
        await self.revoke(identity)
        await self._record_revocation(identity)

    async def _record_revocation(self, identity: Identity) -> Identity:
        revoked = await self._registry.update(identity, identity.record_revocation())
        events.info("identity_revoked", identity_id=identity.id)
        return revoked

    async def start_purge(self, identity: Identity) -> Identity:
        """Decide that it is purged (purge, step 2). This write decides between purge and restore.

        Raises:
            Conflict: the identity has changed, for example because it was restored.
        """
        started = await self._registry.update(identity, identity.start_purge(self._clock.now()))
        events.info("identity_purge_started", identity_id=identity.id)
        return started

    async def finish_purge(self, identity: Identity) -> None:
        """Delete it in ACS, release its user, remove its row (purge, steps 3 to 5).

        Raises:
            IdentityNotKnownYet: ACS does not know it, and it is too young for this to be a proof.
            WrongResource: it belongs to another ACS resource.
            Conflict: another call has finished the purge.
        """
        asked_on = self._clock.now()
        try:
            await self._acs.delete(identity.id)  # 3
        except IdentityNotFound:
            _require_old(identity, asked_on)
        await self._release_user(identity)  # 4
        await self._registry.remove(identity)  # 5
        events.info("identity_purged", identity_id=identity.id)

    async def _release_user(self, identity: Identity) -> None:
        user_row = await self._user_row_of(identity)
        if user_row:
            with suppress(Conflict):  # another identity has taken it over
                await self._registry.remove_user(user_row)

    async def roll_back(self, identity: Identity) -> None:
        """Remove the rows of a registration that has failed or was interrupted.

        Raises:
            Conflict: another registration has taken over.
        """
        user_row = await self._user_row_of(identity)  # 1
        if user_row:
            postponed = identity.start_rollback(self._clock.now())
            identity = await self._registry.update(identity, postponed)  # 2
            await self._registry.remove_user(user_row)
        await self._registry.remove(identity)  # 3
        events.info("registration_rolled_back", identity_id=identity.id)

    async def _user_row_of(self, identity: Identity) -> UserRow | None:
        """The row of the identity's user, if it names this identity."""
        if identity.user_id is None:
            return None
        user_row = await self._registry.read_user(identity.user_id)
        return user_row if user_row and user_row.identity_id == identity.id else None


async def identity_of_user(user_id: str, registry: Registry) -> Identity | None:
    """The user's identity, in any state. None if the identity does not name the user."""
    user_row = await registry.read_user(user_id)
    if user_row is None:
        return None
    current_invocation().identity_id = user_row.identity_id
    identity = await registry.read(user_row.identity_id)
    if identity and (identity.user_id == user_id or identity.state is State.UNKNOWN):
        return identity
    return None


def _require_old(identity: Identity, asked_on: datetime) -> None:
    """Believe ACS that an identity doesn't exist only if it was old enough when ACS was asked."""
    if identity.is_young(asked_on):
        raise IdentityNotKnownYet("ACS does not know this new identity yet.")


def _is_confirmed(identity: Identity | None, adopted: Identity) -> bool:
    """Whether the row is still the adopted one, and ACS has confirmed that the identity exists.

    A row's first date never changes, so another date means that ours was removed.
    """
    return identity is not None and identity.known_on == adopted.known_on and not identity.adopted


def _require_not_gone(identity: Identity, refusal: IdentityNotFound) -> None:
    """If ACS has lost an identity that nothing here is purging, name the way out."""
    if identity.state in (State.ACTIVE, State.SUSPENDED, State.DELETED):
        raise IdentityGone(
            "The registry has the identity, but ACS no longer does. DELETE"
            f" identities/{identity.id}, then DELETE deleted-identities/{identity.id}, then create"
            " another one.",
            identity_id=identity.id,
            upstream_request_id=refusal.upstream_request_id,
        ) from refusal


# The states that an operation accepts. Any other state is an error.


def _require_readable(identity: Identity) -> None:
    if identity.state is State.UNKNOWN:
        raise IdentityNotReadable("A newer release may have changed this identity. Retry.")


def _require_active(identity: Identity) -> None:
    """For a token."""
    _require_readable(identity)
    if identity.state in (State.CREATING, State.REGISTERING):
        raise IdentityUnfinished("The identity is still being created.", identity_id=identity.id)
    _require_unmarked(identity)
    if identity.state is not State.ACTIVE:
        raise _deleted(identity)


def _require_unmarked(identity: Identity) -> None:
    if identity.state is State.DELETED:
        raise _deleted(identity)
    _require_not_suspended(identity)


def _require_not_suspended(identity: Identity | None) -> None:
    if identity and identity.state is State.SUSPENDED:
        raise IdentitySuspended(
            "The identity is suspended. Only a service can resume it, with POST"
            f" identities/{identity.id}/resume.",
            identity_id=identity.id,
        )


def _require_registrable(identity: Identity | None, user_id: str | None) -> None:
    if identity is None:
        return
    _require_readable(identity)
    _require_unmarked(identity)
    if identity.state is State.PURGING:
        raise _being_purged()
    if identity.state is not State.REGISTERING or identity.user_id != user_id:
        raise _busy()


def _require_unregistrable(identity: Identity | None) -> Identity:
    if identity is None:
        raise _not_registered()
    if identity.state is State.PURGING:
        raise _being_purged()
    _require_readable(identity)
    _require_unmarked(identity)
    if identity.state not in (State.ACTIVE, State.REGISTERING):
        raise _busy()
    return identity


def _require_suspendable(identity: Identity | None) -> None:
    if identity is None:
        return
    _require_readable(identity)
    if identity.state is State.DELETED:
        raise _deleted(identity)
    _require_finished(identity)


def _require_resumable(identity: Identity | None) -> Identity:
    if identity is None:
        raise _not_registered()
    _require_suspendable(identity)
    return identity


def _require_deletable(identity: Identity | None) -> None:
    if identity is None:
        return
    _require_readable(identity)
    _require_finished(identity)


def _require_finished(identity: Identity) -> None:
    """Require that it is neither on its way nor being purged."""
    match identity.state:
        case State.REGISTERING:
            raise _busy()
        case State.CREATING:
            raise unfinished(identity)
        case State.PURGING:
            raise _being_purged()


def _require_restorable(identity: Identity | None) -> Identity:
    if identity is None:
        raise IdentityNotFound("There is no such deleted identity.")
    _require_readable(identity)
    if identity.state is State.PURGING:
        raise _being_purged()
    if identity.state not in (State.ACTIVE, State.SUSPENDED, State.DELETED):
        raise IdentityNotFound("There is no such deleted identity.")
    if identity.state is State.SUSPENDED and not identity.revoked:
        raise _busy()  # its old tokens may still work
    return identity


def _require_own(identity: Identity | None, user_id: str) -> Identity | None:
    if identity:
        _require_readable(identity)
    if identity and identity.user_id != user_id:
        raise IdentityNotFound("You have no identity.")
    return identity


def _deleted(identity: Identity) -> IdentityDeleted:
    if identity.state is State.PURGING:
        return IdentityDeleted(
            "The identity is being purged and cannot be restored.", identity_id=identity.id
        )
    return IdentityDeleted(
        f"The identity is deleted. POST deleted-identities/{identity.id}/restore restores it,"
        " until it is purged.",
        identity_id=identity.id,
        deleted_by=identity.deleter,
    )


def unfinished(identity: Identity) -> IdentityNotFound:
    """The error about an identity that its caller does not have yet."""
    doing = "registered" if identity.state is State.REGISTERING else "created"
    return IdentityNotFound(f"The identity is still being {doing}.")


def _being_purged() -> IdentityNotFound:
    return IdentityNotFound("The identity is being purged. Nothing can stop this.")


def _mismatch(identity_id: str, detail: str) -> UserMismatch:
    return UserMismatch(detail, field="userId", identity_id=identity_id)


def _not_registered() -> IdentityNotFound:
    return IdentityNotFound("The registry has no such identity.")


def _busy() -> IdentityBusy:
    return IdentityBusy("Other requests are changing this identity. Retry.", retry_after=1)
