"""Revoke every access token of an identity."""

from identity_service.ports import Acs


async def revoke_tokens(identity_id: str, acs: Acs) -> None:
    """Revoke all tokens issued so far. New ones can be issued afterwards."""
    await acs.revoke_tokens(identity_id)
