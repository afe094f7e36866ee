"""How a token comes to be, for an identity that is there or with a new one."""

from identity_service.errors import IdentityNotFound, IdentityUnfinished
from identity_service.model import AccessToken, Scope
from identity_service.operations.creation import Creation, Made, deleted
from identity_service.ports import Acs, Clock, Registry
from identity_service.rows import State


async def mint(
    identity_id: str,
    scopes: list[Scope],
    minutes: int,
    acs: Acs,
    registry: Registry,
    *,
    registered_only: bool,
) -> AccessToken:
    """Have ACS mint a token, and let it out only for an identity that is not deleted.

    The row is read after ACS minted the token, never before or beside it. A token minted before the
    mark of a deletion is killed by the revocation that follows the mark; for one minted later this
    read finds the mark, and the token goes no further.
    """
    token = await acs.issue_token(identity_id, scopes, minutes)  # 1
    row = await registry.read(identity_id)  # 2
    if row is None and registered_only:
        raise IdentityNotFound("The registry has no such identity.")
    if row is None or row.state is State.ACTIVE:
        return token
    if row.state is State.CREATING:
        raise IdentityUnfinished("Its creation has not been answered yet.")
    raise deleted(identity_id)


async def mint_with_identity(
    user_id: str | None,
    scopes: list[Scope],
    minutes: int,
    acs: Acs,
    registry: Registry,
    clock: Clock,
) -> tuple[Made, AccessToken]:
    """Make an identity with its token in one call to ACS; a user who has one gets a fresh token."""

    async def maker() -> tuple[str, AccessToken | None]:
        return await acs.create_with_token(scopes, minutes)

    made = await Creation(acs, registry, clock).make(maker, user_id)
    if made.token:
        return made, made.token
    return made, await mint(made.id, scopes, minutes, acs, registry, registered_only=True)
