"""From sign-in to token in one call."""

import pytest

from identity_service.decoding import decode
from identity_service.errors import InvalidBody, NotAllowed
from identity_service.model import TokenPolicy
from identity_service.operations import issue_my_token
from identity_service.operations.issue_my_token import IssueMyToken
from identity_service.rows import State
from tests.operations_me.world import ALICE, BOB, NOW, StillClock, TinyAcs, TinyRegistry

POLICY = TokenPolicy(("chat", "voip"), 60, 240)


async def test_the_first_call_makes_the_identity(
    acs: TinyAcs, registry: TinyRegistry, clock: StillClock
) -> None:
    """With its token, in one call of ACS; without a body the policy says what the token may do."""
    issued = await issue_my_token(ALICE, IssueMyToken(), acs, registry, clock, POLICY)

    assert acs.calls == [("create_with_token", ["chat", "voip"], 60)]
    assert registry.users == {ALICE.user_id: issued.id}
    assert registry.rows[issued.id].state is State.ACTIVE
    assert (issued.expires_on - NOW).total_seconds() == 3600
    assert (issued.expires_on - issued.refresh_after).total_seconds() == 600


async def test_later_calls_find_it(acs: TinyAcs, registry: TinyRegistry, clock: StillClock) -> None:
    """The caller's, among others'."""
    registry.holds(BOB)
    identity_id = registry.holds(ALICE)
    body = IssueMyToken(scopes=["voip"], expires_in_minutes=240.0)

    issued = await issue_my_token(ALICE, body, acs, registry, clock, POLICY)

    assert issued.id == identity_id
    assert acs.calls == [("issue_token", identity_id, ["voip"], 240)]


@pytest.mark.parametrize(
    ("body", "allowed"),
    [
        (IssueMyToken(scopes=["voip.join"]), ("scopes", "chat, voip")),
        (IssueMyToken(scopes=["chat", "chat.join"]), ("scopes", "chat, voip")),
        (IssueMyToken(expires_in_minutes=241.0), ("expiresInMinutes", "60 to 240")),
    ],
)
async def test_more_than_the_policy_gives_is_refused(
    acs: TinyAcs,
    registry: TinyRegistry,
    clock: StillClock,
    body: IssueMyToken,
    allowed: tuple[str, str],
) -> None:
    """Before anything is made."""
    with pytest.raises(NotAllowed) as refused:
        await issue_my_token(ALICE, body, acs, registry, clock, POLICY)

    assert (refused.value.field, refused.value.allowed) == allowed
    assert (acs.calls, registry.users) == ([], {})


@pytest.mark.parametrize("raw", [b"", b"{}"])
def test_a_body_is_optional(raw: bytes) -> None:
    """None at all is as good as an empty one."""
    assert decode(raw, IssueMyToken) == IssueMyToken()


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b'{"scopes": []}', "scopes"),
        (b'{"scopes": ["chat", "chat"]}', "scopes"),
        (b'{"scopes": ["spam"]}', "scopes"),
        (b'{"scopes": null}', "scopes"),
        (b'{"expiresInMinutes": 59}', "expiresInMinutes"),
        (b'{"expiresInMinutes": 60.5}', "expiresInMinutes"),
        (b'{"userId": "bob"}', "userId"),
        (b'{"id": "8:acs:x"}', "id"),
    ],
)
def test_a_wrong_body_is_refused(raw: bytes, field: str) -> None:
    """As it is for services; for whom the token is nobody can say but the platform."""
    with pytest.raises(InvalidBody) as refused:
        decode(raw, IssueMyToken)

    assert refused.value.field == field
