"""Every operation in every state of the identity: it succeeds, or it is refused."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from identity_service.errors import (
    DeletedByService,
    DeletedIdentityHidden,
    IdentityBusy,
    IdentityDeleted,
    IdentityNotDeleted,
    IdentityNotFound,
    IdentityNotReadable,
    IdentitySuspended,
    IdentityUnfinished,
    ServiceError,
)
from identity_service.identity import State, is_identity_id
from identity_service.log import begin_invocation
from identity_service.operations.deleted_identities import (
    get_deleted_identity,
    list_deleted_identities,
)
from identity_service.operations.identities import get_identity, list_identities
from identity_service.operations.me import (
    exchange_my_teams_token,
    get_me,
    issue_my_token,
    revoke_my_tokens,
)
from identity_service.operations.tokens import exchange_teams_token
from identity_service.schemas import (
    ExchangeMyTeamsTokenRequest,
    ExchangeTeamsTokenRequest,
    IssueMyTokenRequest,
    ListDeletedIdentitiesQuery,
    ListIdentitiesQuery,
)
from tests.support.memory import UNKNOWN
from tests.support.world import ALICE, TABLE_IS_DOWN, World, refusal

Call = Callable[[World, str], Awaitable[object]]

# Identities without a row.
NOWHERE = "ACS does not know it"
ELSEWHERE = "created elsewhere"

TEAMS = ExchangeTeamsTokenRequest(token="entra-token", app_id="app", user_id="user")
MY_TEAMS = ExchangeMyTeamsTokenRequest(token="entra-token")

CALLS: dict[str, Call] = {
    "create_identity": lambda world, _: world.create(ALICE.user_id),
    "create_identity_with_token": lambda world, _: world.create_with_token(ALICE.user_id),
    "register_identity": lambda world, identity_id: world.register(identity_id, ALICE.user_id),
    "unregister_identity": World.unregister,
    "get_identity": lambda world, identity_id: get_identity(identity_id, world.registry),
    "suspend_identity": World.suspend,
    "resume_identity": World.resume,
    "delete_identity": World.delete,
    "issue_token": World.issue,
    "revoke_tokens": World.revoke,
    "get_deleted_identity": lambda world, identity_id: get_deleted_identity(
        identity_id, world.registry
    ),
    "restore_identity": World.restore,
    "purge_identity": World.purge,
    "get_me": lambda world, _: get_me(ALICE, world.registry),
    "issue_my_token": lambda world, _: issue_my_token(
        ALICE, IssueMyTokenRequest(), world.lifecycle, world.user_tokens
    ),
    "revoke_my_tokens": lambda world, _: revoke_my_tokens(ALICE, world.registry, world.lifecycle),
    "delete_me": lambda world, _: world.delete_me(),
    "restore_me": lambda world, _: world.restore_me(),
    # These depend on no state.
    "list_identities": lambda world, _: list_identities(ListIdentitiesQuery(), world.registry),
    "list_identities of a user": lambda world, _: list_identities(
        ListIdentitiesQuery(user_id=ALICE.user_id), world.registry
    ),
    "list_deleted_identities": lambda world, _: list_deleted_identities(
        ListDeletedIdentitiesQuery(), world.registry, world.cleanup
    ),
    "exchange_my_teams_token": lambda world, _: exchange_my_teams_token(
        ALICE, MY_TEAMS, world.acs, world.registry, TEAMS.app_id
    ),
    "exchange_teams_token": lambda world, _: exchange_teams_token(TEAMS, world.acs),
}

OK = None
NONE, HIDDEN = IdentityNotFound, DeletedIdentityHidden
GONE, BUSY = IdentityDeleted, IdentityBusy
HALF, ALIVE = IdentityUnfinished, IdentityNotDeleted
NEW, HELD = IdentityNotReadable, IdentitySuspended
OTHERS = DeletedByService
# Not a state of its own: the user has deleted the identity, and not a service.
BY_USER = "deleted by the user"

# An identity without a row has no user, so the operations of its user find none. A row that is not
# readable may be in any state.
STATES = [NOWHERE, ELSEWHERE, *State, BY_USER]
TABLE: dict[str, list[type[Exception] | None]] = {
    # In the order of STATES.
    "create_identity":     [OK,   OK,   OK,    BUSY,  OK,    HELD,  GONE,   OK,   NEW,  GONE],
    "create_identity_with_token":
                           [OK,   OK,   OK,    BUSY,  OK,    HELD,  GONE,   OK,   NEW,  GONE],
    "register_identity":   [NONE, OK,   BUSY,  OK,    OK,    HELD,  GONE,   NONE, NEW,  GONE],
    "unregister_identity": [NONE, NONE, BUSY,  OK,    OK,    HELD,  GONE,   NONE, NEW,  GONE],
    "get_identity":        [NONE, NONE, NONE,  NONE,  OK,    OK,    HIDDEN, HIDDEN, OK, HIDDEN],
    "suspend_identity":    [NONE, OK,   NONE,  BUSY,  OK,    OK,    GONE,   NONE, NEW,  GONE],
    "resume_identity":     [NONE, NONE, NONE,  BUSY,  OK,    OK,    GONE,   NONE, NEW,  GONE],
    "delete_identity":     [NONE, OK,   NONE,  BUSY,  OK,    OK,    OK,     NONE, NEW,  OK],
    "issue_token":         [NONE, OK,   HALF,  OK,    OK,    HELD,  GONE,   GONE, NEW,  GONE],
    "revoke_tokens":       [NONE, OK,   OK,    OK,    OK,    OK,    OK,     OK,   OK,   OK],
    "get_deleted_identity":
                           [NONE, NONE, NONE,  NONE,  NONE,  NONE,  OK,     OK,   NONE, OK],
    "restore_identity":    [NONE, NONE, NONE,  NONE,  OK,    OK,    OK,     NONE, NEW,  OK],
    "purge_identity":      [NONE, NONE, ALIVE, ALIVE, ALIVE, ALIVE, OK,     OK,   NEW,  OK],
    "get_me":              [NONE, NONE, NONE,  NONE,  OK,    OK,    HIDDEN, NONE, NEW,  HIDDEN],
    "issue_my_token":      [OK,   OK,   OK,    BUSY,  OK,    HELD,  GONE,   OK,   NEW,  GONE],
    "revoke_my_tokens":    [NONE, NONE, OK,    OK,    OK,    OK,    OK,     NONE, NEW,  OK],
    "delete_me":           [NONE, NONE, NONE,  BUSY,  OK,    HELD,  OK,     NONE, NEW,  OK],
    "restore_me":          [NONE, NONE, NONE,  NONE,  OK,    OK,    OTHERS, NONE, NEW,  OK],
}  # fmt: skip


async def reach(world: World, state: str) -> str:
    """The id of an identity in this state."""
    if state == NOWHERE:
        return UNKNOWN
    if state == ELSEWHERE:
        return world.acs.add()
    if state == BY_USER:
        await world.active(ALICE.user_id)
        return (await world.delete_me()).id
    return await world.in_state(State(state), ALICE.user_id)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("operation", TABLE)
async def test_state(world: World, operation: str, state: str) -> None:
    """The operation succeeds or is refused as the table says. A refused one changes nothing."""
    error = TABLE[operation][STATES.index(state)]
    identity_id = await reach(world, state)
    before = dict(world.registry.rows), list(world.acs.identities)

    call = CALLS[operation](world, identity_id)

    if error is None:
        await call
    else:
        assert await refusal(call) is error
        assert (world.registry.rows, world.acs.identities) == before


ME = ["get_me", "issue_my_token", "revoke_my_tokens", "delete_me", "restore_me"]
# The operations that find out which identity they are about. Others have it in their URL.
OF_A_USER = ["create_identity", "create_identity_with_token", *ME]
REFUSED_WHILE_PURGING = [
    name
    for name, errors in TABLE.items()
    if errors[STATES.index(State.PURGING)] and name not in OF_A_USER
]


@pytest.mark.parametrize("operation", REFUSED_WHILE_PURGING)
async def test_what_is_being_purged_is_said_to_be(world: World, operation: str) -> None:
    """ACS may still have it. So no error says that it is unknown, or that it can be restored."""
    with pytest.raises(ServiceError) as caught:
        await CALLS[operation](world, await world.purging())

    assert caught.value.detail.startswith("The identity is being purged")


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("operation", OF_A_USER)
async def test_log_has_the_identity(world: World, operation: str, state: State) -> None:
    """Refused or not, the log line of an operation of a user has the user's identity."""
    identity_id = await reach(world, state)
    invocation = begin_invocation("one")
    with suppress(ServiceError):
        await CALLS[operation](world, identity_id)

    assert invocation.identity_id == world.user_rows().get(ALICE.user_id, identity_id)


@pytest.mark.parametrize("call", ["insert", "insert_user", "update"])
@pytest.mark.parametrize("operation", ["create_identity", "issue_my_token"])
async def test_log_has_a_new_identity(world: World, operation: str, call: str) -> None:
    """If the creation of an identity fails after ACS has created it, the log line has its id."""
    world.registry.fails(call, TABLE_IS_DOWN)
    invocation = begin_invocation("one")
    await refusal(CALLS[operation](world, UNKNOWN))

    assert is_identity_id(invocation.identity_id)


@pytest.mark.parametrize(
    "operation", ["delete_identity", "issue_token", "revoke_tokens", "suspend_identity"]
)
async def test_only_registered_identities(world: World, operation: str) -> None:
    """If only registered identities are allowed, others are not found and are not changed."""
    world.registered_only = True
    registered, other = await world.active(), world.acs.add()
    await CALLS[operation](world, registered)

    assert await refusal(CALLS[operation](world, other)) is IdentityNotFound

    assert list(world.registry.rows) == [registered]
    assert other not in world.acs.revocations


@pytest.mark.parametrize("operation", ["get_me", "revoke_my_tokens", "delete_me", "restore_me"])
async def test_user_without_an_identity(world: World, operation: str) -> None:
    """A signed-in user without an identity learns how to get one. No other identity is used."""
    await world.deleted("another user")
    world.acs.calls.clear()
    with pytest.raises(IdentityNotFound, match="POST me/tokens"):
        await CALLS[operation](world, UNKNOWN)

    assert (world.acs.calls, list(world.user_rows())) == ([], ["another user"])
