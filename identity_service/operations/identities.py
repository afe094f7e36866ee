"""Operations on identities: create, get, list, suspend, resume, delete."""

from msgspec import UNSET

from identity_service.errors import DeletedIdentityHidden, IdentityNotFound
from identity_service.identity import Identity, Page, State
from identity_service.lifecycle import Lifecycle, identity_of_user, unfinished
from identity_service.policies import DeletionPolicy, TokenPolicy
from identity_service.ports import Registry
from identity_service.schemas import (
    CreateIdentityRequest,
    CreateIdentityWithTokenRequest,
    DeletionResponse,
    IdentityCreatedResponse,
    IdentityFoundResponse,
    IdentityResponse,
    IdentityWithTokenCreatedResponse,
    IssuedTokenResponse,
    ListIdentitiesQuery,
)


async def create_identity(
    body: CreateIdentityRequest, lifecycle: Lifecycle
) -> IdentityCreatedResponse | IdentityFoundResponse:
    """Create an identity. Repeating the call with the same userId returns the existing one.

    Raises:
        IdentityDeleted: the user's identity is deleted: restore it.
        IdentitySuspended: the user's identity is suspended: resume it.
        IdentityBusy: the user's identity is being registered, or other requests are changing it.
    """
    created = await lifecycle.create(body.user_id)
    response = IdentityCreatedResponse if created.is_new else IdentityFoundResponse
    return response(id=created.identity_id)


async def create_identity_with_token(
    body: CreateIdentityWithTokenRequest, lifecycle: Lifecycle, service_tokens: TokenPolicy
) -> IdentityWithTokenCreatedResponse | IssuedTokenResponse:
    """Create an identity and its first token. A user's existing identity gets a new token.

    Raises:
        IdentityNotFound: the user's identity was purged during the call.
        IdentityGone: the registry has the user's identity, but ACS no longer does. Delete and purge
            it, then create again.
        IdentityDeleted: the user's identity is deleted: restore it.
        IdentitySuspended: the user's identity is suspended: resume it.
        IdentityUnfinished: the user's identity is still being created.
        IdentityBusy: the user's identity is being registered, or other requests are changing it.
    """
    grant = service_tokens.grant(body.scopes, body.expires_in_minutes)
    created, token = await lifecycle.create_with_token(body.user_id, grant)
    response = IdentityWithTokenCreatedResponse if created.is_new else IssuedTokenResponse
    return response.of(created.identity_id, token)


async def get_identity(identity_id: str, registry: Registry) -> IdentityResponse:
    """Get an active or suspended identity from the registry.

    Raises:
        IdentityNotFound: the registry has no such identity, or its creation or registration is not
            finished.
        DeletedIdentityHidden: it is deleted or being purged: get it from deleted-identities.
    """
    identity = await registry.read(identity_id)
    if identity is None:
        raise IdentityNotFound("The registry has no such identity.")
    return visible(identity)


def visible(identity: Identity) -> IdentityResponse:
    """The response for an identity that is not deleted.

    Raises: as `get_identity`.
    """
    match identity.state:
        case State.DELETED:
            raise DeletedIdentityHidden(
                f"See deleted-identities/{identity.id}.", deleted_by=identity.deleter
            )
        case State.PURGING:
            raise DeletedIdentityHidden(
                f"The identity is being purged. See deleted-identities/{identity.id}."
            )
        case State.CREATING | State.REGISTERING:
            raise unfinished(identity)
    return IdentityResponse.of(identity)


async def list_identities(query: ListIdentitiesQuery, registry: Registry) -> Page[IdentityResponse]:
    """List active and suspended identities, those in one state, or the identity of one user."""
    if query.user_id is not UNSET:
        identity = await identity_of_user(query.user_id, registry)
        found = [identity] if identity and identity.state in query.states else []
        return Page([IdentityResponse.of(one) for one in found])
    page = await registry.list_identities(query.states, query.after, query.max_page_size)
    return Page([IdentityResponse.of(identity) for identity in page.items], page.continuation)


async def suspend_identity(
    identity_id: str, lifecycle: Lifecycle, registered_only: bool
) -> IdentityResponse:
    """Suspend an identity. It gets no tokens until it is resumed; its existing ones are revoked.

    Raises:
        IdentityNotFound: ACS has no such identity, it is being created or purged, or it is not
            registered and the settings require it.
        IdentityDeleted: it is deleted, so it gets no tokens anyway.
        IdentityBusy: it is being registered, or other requests are changing it.
    """
    suspended = await lifecycle.suspend(identity_id, registered_only=registered_only)
    return IdentityResponse.of(suspended)


async def resume_identity(identity_id: str, lifecycle: Lifecycle) -> IdentityResponse:
    """Resume a suspended identity. Its old tokens stay revoked; new ones can be issued.

    Raises:
        IdentityNotFound: the registry has no such identity, or it is being created or purged.
        IdentityDeleted: it is deleted: restore it first.
        IdentityBusy: it is being registered, or other requests are changing it.
    """
    return IdentityResponse.of(await lifecycle.resume(identity_id))


async def delete_identity(
    identity_id: str, lifecycle: Lifecycle, deletion: DeletionPolicy, registered_only: bool
) -> DeletionResponse:
    """Delete an identity. A service can restore it until it is purged.

    Raises:
        IdentityNotFound: ACS has no such identity, it is being purged, or it is not registered and
            the settings require it.
        IdentityBusy: other requests are changing the identity. Retry the request.
    """
    deleted = await lifecycle.delete(identity_id, deletion, registered_only=registered_only)
    return DeletionResponse.of(deleted)
