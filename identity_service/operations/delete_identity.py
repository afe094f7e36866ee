"""Delete an identity."""

from identity_service.ports import Acs


async def delete_identity(identity_id: str, acs: Acs) -> None:
    """Delete the identity with its tokens and its data, at once and for ever."""
    await acs.delete(identity_id)
