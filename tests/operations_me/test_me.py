"""What a signed-in user can do with their own identity, and with no other."""

import inspect
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from identity_service import operations
from identity_service.errors import (
    DeletedIdentityHidden,
    IdentityDeleted,
    IdentityNotFound,
    ServiceError,
)
from identity_service.model import DeletionPolicy, Identity, TokenPolicy
from identity_service.operations import (
    delete_me,
    get_me,
    issue_my_token,
    restore_me,
    revoke_my_tokens,
)
from identity_service.operations.delete_identity import Deletion
from identity_service.operations.issue_my_token import IssueMyToken
from identity_service.rows import State
from tests.operations_me.world import ALICE, BOB, NOW, StillClock, TinyAcs, TinyRegistry

POLICY = TokenPolicy(("chat", "voip"), 60, 240)
MINE = [each for each in operations.__all__ if each.endswith("_me") or "_my_" in each]
Ask = Callable[[], Awaitable[object]]


@pytest.fixture
def asks(acs: TinyAcs, registry: TinyRegistry, clock: StillClock) -> dict[str, Ask]:
    """Everything that alice can ask about an identity of hers."""
    return {
        "get_me": lambda: get_me(ALICE, registry),
        "issue_my_token": lambda: issue_my_token(
            ALICE, IssueMyToken(), acs, registry, clock, POLICY
        ),
        "revoke_my_tokens": lambda: revoke_my_tokens(ALICE, acs, registry),
        "delete_me": lambda: delete_me(ALICE, acs, registry, clock, DeletionPolicy()),
        "restore_me": lambda: restore_me(ALICE, acs, registry),
    }


@pytest.mark.parametrize("name", MINE)
def test_no_operation_of_a_users_takes_an_id(name: str) -> None:
    """It is found by who they are."""
    parameters = inspect.signature(getattr(operations, name)).parameters

    assert next(iter(parameters)) == "caller"
    assert "identity_id" not in parameters


def test_there_are_six() -> None:
    """Those of this folder."""
    assert len(MINE) == 6


@pytest.mark.parametrize("name", ["get_me", "revoke_my_tokens", "delete_me", "restore_me"])
async def test_who_has_no_identity_is_told_how_to_get_one(
    name: str, asks: dict[str, Ask], acs: TinyAcs, registry: TinyRegistry
) -> None:
    """Somebody else's is never found instead, and nothing is made."""
    registry.holds(BOB)

    with pytest.raises(IdentityNotFound, match="POST me/tokens"):
        await asks[name]()

    assert acs.calls == []
    assert registry.users.keys() == {BOB.user_id}


async def test_get_me_tells_everything_that_is_held(registry: TinyRegistry) -> None:
    """User id, identity, since when."""
    identity_id = registry.holds(ALICE)

    found = await get_me(ALICE, registry)

    assert found == Identity(id=identity_id, user_id=ALICE.user_id, created_on=NOW)


async def test_revoking_signs_out_the_caller_alone(
    asks: dict[str, Ask], acs: TinyAcs, registry: TinyRegistry
) -> None:
    """By the caller's own identity."""
    registry.holds(BOB)
    identity_id = registry.holds(ALICE)

    await asks["revoke_my_tokens"]()

    assert acs.calls == [("revoke_tokens", identity_id)]


async def test_deleting_deletes_the_caller_alone(
    asks: dict[str, Ask], acs: TinyAcs, registry: TinyRegistry
) -> None:
    """Softly: tokens are revoked, and the purge has a date."""
    others, identity_id = registry.holds(BOB), registry.holds(ALICE)

    deletion = await asks["delete_me"]()

    assert isinstance(deletion, Deletion)
    assert deletion.scheduled_purge_on - deletion.deleted_on == timedelta(days=7)
    assert acs.calls == [("revoke_tokens", identity_id)]
    assert registry.rows[identity_id].state is State.DELETED
    assert registry.rows[others].state is State.ACTIVE


@pytest.mark.parametrize(
    ("name", "error"),
    [("get_me", DeletedIdentityHidden), ("issue_my_token", IdentityDeleted)],
)
async def test_who_is_deleted_is_told_of_their_own_way_back(
    name: str,
    error: type[ServiceError],
    asks: dict[str, Ask],
    acs: TinyAcs,
    registry: TinyRegistry,
) -> None:
    """Not of that of services, for which they have no key; and no token is made."""
    registry.holds(ALICE, State.DELETED)

    with pytest.raises(error, match="POST me/restore"):
        await asks[name]()

    assert acs.calls == []


async def test_restoring_brings_back_the_same_identity(
    asks: dict[str, Ask], registry: TinyRegistry
) -> None:
    """And is answered alike the second time."""
    identity_id = registry.holds(ALICE, State.DELETED)

    first, second = [await asks["restore_me"]() for _ in range(2)]

    assert first == second == await get_me(ALICE, registry)
    assert registry.rows[identity_id].state is State.ACTIVE


@pytest.mark.parametrize("name", ["get_me", "delete_me", "restore_me"])
@pytest.mark.parametrize("state", [State.PURGING, State.CREATING])
async def test_an_identity_that_is_not_there_is_not_found(
    name: str, state: State, asks: dict[str, Ask], registry: TinyRegistry
) -> None:
    """Be it that it is no more, or not yet."""
    registry.holds(ALICE, state)

    with pytest.raises(IdentityNotFound):
        await asks[name]()
