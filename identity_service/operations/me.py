"""Operations of signed-in users on their own identity. None of them takes an identity's id."""

from collections.abc import Iterator
from contextlib import contextmanager

from identity_service.errors import (
    DeletedIdentityHidden,
    IdentityDeleted,
    IdentityGone,
    IdentityNotFound,
    IdentityNotReadable,
    IdentitySuspended,
    NotAllowed,
)
from identity_service.identity import Actor, Identity, SignedInUser, State
from identity_service.lifecycle import Lifecycle, identity_of_user
from identity_service.log import current_invocation
from identity_service.operations.identities import visible
from identity_service.operations.tokens import exchange_teams_token
from identity_service.policies import DeletionPolicy, TokenPolicy
from identity_service.ports import Acs, Registry
from identity_service.schemas import (
    DeletionResponse,
    ExchangeMyTeamsTokenRequest,
    ExchangeTeamsTokenRequest,
    IdentityResponse,
    IssuedTokenResponse,
    IssueMyTokenRequest,
    TeamsTokenResponse,
)


async def get_me(caller: SignedInUser, registry: Registry) -> IdentityResponse:
    """Get everything that the registry holds about the signed-in user.

    Raises:
        IdentityNotFound: the caller has no identity yet.
        DeletedIdentityHidden: the caller's identity is deleted: restore it.
        IdentityNotReadable: a newer release has changed the caller's identity. Retry the request.
    """
    with _with_restore_hint():
        return visible(await _own_identity(caller, registry))


async def issue_my_token(
    caller: SignedInUser,
    body: IssueMyTokenRequest,
    lifecycle: Lifecycle,
    user_tokens: TokenPolicy,
) -> IssuedTokenResponse:
    """Issue an access token to the signed-in user. The first call creates their identity.

    Raises:
        IdentityNotFound: the caller's identity was purged during the call.
        IdentityGone: ACS no longer has the caller's identity. After its deletion and purge, this
            call creates another one.
        IdentityDeleted: the caller's identity is deleted: restore it.
        IdentitySuspended: the caller's identity is suspended. Only a service can resume it.
        IdentityUnfinished: the caller's identity is still being created.
        IdentityBusy: the caller's identity is being registered, or other requests are changing it.
    """
    grant = user_tokens.grant(body.scopes, body.expires_in_minutes)
    with _with_restore_hint(), _with_deletion_hint():
        created, token = await lifecycle.create_with_token(caller.user_id, grant)
    return IssuedTokenResponse.of(created.identity_id, token)


async def revoke_my_tokens(caller: SignedInUser, registry: Registry, lifecycle: Lifecycle) -> None:
    """Revoke all access tokens of the signed-in user. This signs them out of every client.

    Raises:
        IdentityNotFound: the caller has no identity yet.
        IdentityGone: ACS no longer has the caller's identity, so there are no tokens.
        IdentityNotReadable: a newer release has changed the caller's identity. Retry the request.
    """
    identity = await _own_identity(caller, registry)
    with _with_deletion_hint():
        await lifecycle.revoke_tokens(identity.id, registered_only=False)


async def delete_me(
    caller: SignedInUser, registry: Registry, lifecycle: Lifecycle, deletion: DeletionPolicy
) -> DeletionResponse:
    """Delete the signed-in user's identity. It can be restored until it is purged.

    Raises:
        IdentityNotFound: the caller has no identity yet, or it is being purged.
        IdentitySuspended: it is suspended. After a purge, the user would get a new identity.
        IdentityBusy: other requests are changing the identity. Retry the request.
    """
    identity_id = await _own_identity_id(caller, registry)
    deleted = await lifecycle.delete_own(identity_id, deletion, caller.user_id)
    return DeletionResponse.of(deleted)


async def restore_me(
    caller: SignedInUser, registry: Registry, lifecycle: Lifecycle
) -> IdentityResponse:
    """Restore the signed-in user's identity, if the user has deleted it.

    Raises:
        IdentityNotFound: the caller has no deleted identity, or it is being purged.
        DeletedByService: a service has deleted it, so only a service can restore it.
        IdentityBusy: other requests are changing the identity. Retry the request.
    """
    identity_id = await _own_identity_id(caller, registry)
    return IdentityResponse.of(await lifecycle.restore_own(identity_id, caller.user_id))


async def exchange_my_teams_token(
    caller: SignedInUser,
    body: ExchangeMyTeamsTokenRequest,
    acs: Acs,
    registry: Registry,
    teams_app_id: str,
) -> TeamsTokenResponse:
    """Exchange the signed-in Teams user's Entra token for an ACS access token.

    ACS checks that the token was issued for the caller's own `oid` and for the app in the settings.
    The caller's identity is read after the exchange: a suspension that is older than the token is
    found, and the token is dropped.

    Raises:
        IdentitySuspended: the caller has an identity, and it is suspended.
        IdentityNotReadable: a newer release has changed the caller's identity. Retry the request.
        NotAllowed: the caller is not a user of Entra, or `TEAMS_APP_ID` is not set.
        TeamsTokenRefused: ACS does not accept the token, or not for this app and this user.
    """
    if not caller.object_id:
        raise NotAllowed("Only users of Microsoft Entra ID have Teams.")
    if not teams_app_id:
        raise NotAllowed("Set TEAMS_APP_ID: without it no user's Teams token is exchanged.")
    wanted = ExchangeTeamsTokenRequest(
        token=body.token, app_id=teams_app_id, user_id=caller.object_id
    )
    exchanged = await exchange_teams_token(wanted, acs)
    identity = await identity_of_user(caller.user_id, registry)
    if identity and identity.state is State.UNKNOWN:
        raise _not_readable()
    if identity and identity.state in (State.SUSPENDED, State.DELETED) and identity.suspended_on:
        raise IdentitySuspended("Your identity is suspended.", identity_id=identity.id)
    return exchanged


async def _own_identity_id(caller: SignedInUser, registry: Registry) -> str:
    """The id in the caller's user row. Whoever uses it checks that the identity names the caller.

    Raises:
        IdentityNotFound: the caller has no user row.
    """
    user_row = await registry.read_user(caller.user_id)
    if user_row is None:
        raise _no_identity()
    current_invocation().identity_id = user_row.identity_id
    return user_row.identity_id


async def _own_identity(caller: SignedInUser, registry: Registry) -> Identity:
    identity = await identity_of_user(caller.user_id, registry)
    if identity is None or identity.state is State.PURGING:
        raise _no_identity()
    if identity.state is State.UNKNOWN:
        raise _not_readable()
    return identity


def _not_readable() -> IdentityNotReadable:
    return IdentityNotReadable("A newer release may have changed your identity. Retry.")


def _no_identity() -> IdentityNotFound:
    return IdentityNotFound("You have no identity yet: POST me/tokens creates it.")


@contextmanager
def _with_restore_hint() -> Iterator[None]:
    """If the caller's identity is deleted, say who can restore it."""
    try:
        yield
    except (DeletedIdentityHidden, IdentityDeleted) as error:
        if error.deleted_by is None:  # it is being purged
            raise
        hint = (
            "A service has deleted your identity. Only a service can restore it."
            if error.deleted_by == Actor.SERVICE
            else "Your identity is deleted. If you deleted it, POST me/restore restores it, until"
            " it is purged."
        )
        raise type(error)(
            hint, identity_id=error.identity_id, deleted_by=error.deleted_by
        ) from error


@contextmanager
def _with_deletion_hint() -> Iterator[None]:
    """If ACS no longer has the caller's identity, name the operation that deletes it here."""
    try:
        yield
    except IdentityGone as error:
        raise IdentityGone(
            "ACS no longer has your identity. DELETE me deletes it here, too. After its purge,"
            " which a service can do at once, POST me/tokens creates another one.",
            identity_id=error.identity_id,
            upstream_request_id=error.upstream_request_id,
        ) from error
