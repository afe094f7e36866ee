"""The policies that the settings define for each kind of caller."""

import pytest

from tests.support.client import CHAT, Control, Me, claims
from tests.support.fixtures import StartApp


@pytest.mark.parametrize(
    ("body", "field", "allowed"),
    [
        ({"scopes": ["voip.join"]}, "scopes", "chat, voip"),
        ({"scopes": ["chat", "chat.join"]}, "scopes", "chat, voip"),
        ({"expiresInMinutes": 241}, "expiresInMinutes", "60 to 240"),
    ],
)
async def test_a_user_cannot_exceed_the_policy(
    me: Me, body: dict[str, object], field: str, allowed: str
) -> None:
    """The problem names what is allowed, and no identity is created."""
    problem = (await me.issue(**body)).assert_problem(403, "not_allowed")

    assert (problem["field"], problem["allowed"]) == (field, allowed)
    (await me.read()).assert_problem(404, "identity_not_found")


async def test_each_kind_of_caller_has_its_policy(
    start_app: StartApp, control: Control, user: str
) -> None:
    """It holds for every operation that issues tokens."""
    service = start_app(
        USER_TOKEN_SCOPES="voip.join",
        USER_TOKEN_DEFAULT_MINUTES="90",
        USER_TOKEN_MAX_MINUTES="100",
        SERVICE_TOKEN_SCOPES="chat",
        SERVICE_TOKEN_DEFAULT_MINUTES="60",
        SERVICE_TOKEN_MAX_MINUTES="70",
    )
    me = service.signed_in(await control.sign_in(user))

    issued = (await me.issue()).assert_success()
    refused = (await me.issue(**CHAT)).assert_problem(403, "not_allowed")
    assert (lifetime(issued["token"]), refused["allowed"]) == (90 * 60, "voip.join")
    assert claims(issued["token"])["acsScope"] == "voip.join"
    for path in ("identities/with-token", f"identities/{issued['id']}/tokens"):
        wide = await service.post(path, {"scopes": ["voip.join"]})
        long = await service.post(path, {**CHAT, "expiresInMinutes": 71})
        allowed = await service.post(path, CHAT)
        assert wide.assert_problem(403, "not_allowed")["allowed"] == "chat"
        assert long.assert_problem(403, "not_allowed")["allowed"] == "60 to 70"
        assert allowed.status in (200, 201)
        assert lifetime(allowed.json()["token"]) == 60 * 60


def lifetime(token: str) -> int:
    """Returns how many seconds the token is valid."""
    said = claims(token)
    return int(said["exp"]) - int(said["iat"])


async def test_foreign_identities_can_be_refused(
    start_app: StartApp, foreign_identity: str
) -> None:
    """With REGISTERED_IDENTITIES_ONLY, an identity that another client created is 404."""
    strict = start_app(REGISTERED_IDENTITIES_ONLY="true")
    path = f"identities/{foreign_identity}"

    replies = [
        await strict.post(f"{path}/tokens", CHAT),
        await strict.delete(f"{path}/tokens"),
        await strict.delete(path),
    ]

    for reply in replies:
        reply.assert_problem(404, "identity_not_found")
