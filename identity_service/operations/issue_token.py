"""Issue an access token for an identity."""

from identity_service.errors import IdentityUnfinished
from identity_service.model import IssuedToken, TokenRequest
from identity_service.operations.creation import deleted
from identity_service.ports import Acs, Registry
from identity_service.rows import State


async def issue_token(
    identity_id: str, body: TokenRequest, acs: Acs, registry: Registry
) -> IssuedToken:
    """Issue a token; asking again before the old one expires is how a token is refreshed.

    The row is read after ACS minted the token, never before or beside it. A token minted before the
    mark of a deletion is killed by the revocation that follows the mark; for one minted later this
    read finds the mark, and the token goes no further.
    """
    token = await acs.issue_token(identity_id, body.scopes, body.minutes)  # 1
    row = await registry.read(identity_id)  # 2
    if row is None or row.state is State.ACTIVE:
        return IssuedToken.of(identity_id, token)
    if row.state is State.CREATING:
        raise IdentityUnfinished("Its creation has not been answered yet.")
    raise deleted(identity_id)
