"""Create an identity."""

from typing import ClassVar

from identity_service.model import Answer, Request
from identity_service.ports import Acs


class CreateIdentity(Request):
    """Nothing to say yet: every identity is made alike."""


class IdentityCreated(Answer):
    """The new identity."""

    status: ClassVar[int] = 201

    id: str


async def create_identity(body: CreateIdentity, acs: Acs) -> IdentityCreated:  # noqa: ARG001
    """Create an identity."""
    return IdentityCreated(id=await acs.create())
