"""Revoke every access token of an identity."""

from identity_service.errors import IdentityNotFound
from identity_service.ports import Acs, Registry


async def revoke_tokens(
    identity_id: str,
    acs: Acs,
    registry: Registry,
    registered_only: bool,
) -> None:
    """Revoke all tokens issued so far. New ones can be issued afterwards.

    Raises:
        IdentityNotFound: ACS has no such identity.
    """
    if registered_only and await registry.read(identity_id) is None:
        raise IdentityNotFound("The registry has no such identity.")
    await acs.revoke_tokens(identity_id)
