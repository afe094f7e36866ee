"""The exchange of a Teams user's Entra token."""

from uuid import uuid4

import pytest

from local.acs import TeamsUser
from local.entra import ACS_AUDIENCE, TEAMS_AUDIENCE
from tests.local.acs.support import EmulatorClient

OTHER = "00000000-0000-4000-8000-000000000000"
NOT_VALID = (401, "InvalidAccessToken", "Provided access token is not valid.", None)


def body_of(acs: EmulatorClient, **changes: object) -> dict[str, object]:
    """A valid body with these changes."""
    user = acs.emulator.teams_user()
    return {"token": user.token, "appId": user.app_id, "userId": user.user_id, **changes}


def test_an_exchanged_token_has_user_and_expiry_of_the_entra_token(acs: EmulatorClient) -> None:
    """The caller cannot choose the lifetime."""
    user = acs.emulator.teams_user()
    token = acs.issuer.sign(TEAMS_AUDIENCE, 1234, appid=user.app_id, oid=user.user_id)

    exchanged = acs.verify(acs.exchange(body_of(acs, token=token)).document["token"])

    expires = acs.issuer.verify(token, TEAMS_AUDIENCE)["exp"]
    assert exchanged["valid"]
    assert exchanged["claims"]["skypeid"] == f"orgid:{user.user_id}"
    assert exchanged["claims"]["exp"] == expires


@pytest.mark.parametrize("token", ["", None, "garbage", "a.b.c", "\u00e9"])
def test_a_malformed_token_is_not_valid(acs: EmulatorClient, token: str | None) -> None:
    """The token is checked before the other fields."""
    assert acs.exchange({"token": token, "appId": "", "userId": ""}).error == NOT_VALID


def test_an_expired_or_foreign_token_is_not_valid(acs: EmulatorClient) -> None:
    """An Entra token for the service itself cannot be exchanged either."""
    for token in (acs.emulator.teams_user().expired_token, acs.issuer.sign(ACS_AUDIENCE, 60)):
        assert acs.exchange(body_of(acs, token=token)).error == NOT_VALID


@pytest.mark.parametrize(
    ("change", "message", "target"),
    [
        ({"appId": ""}, "AppId: The AppId field is required.", "AppId"),
        ({"appId": None}, "AppId: The AppId field is required.", "AppId"),
        ({"appId": "garbage"}, "Provided AppId has invalid format.", "appId"),
        ({"appId": OTHER}, "AAD application is not the expected one.", "appId"),
        ({"userId": "garbage"}, "Provided UserId has invalid format.", "userId"),
        ({"userId": OTHER}, "Provided AAD token issued for unexpected user.", "userId"),
    ],
)
def test_another_application_or_user_is_refused(
    acs: EmulatorClient, change: dict[str, object], message: str, target: str
) -> None:
    """Both are required, and must be those that the token was issued for."""
    response = acs.exchange(body_of(acs, **change))

    assert response.error == (400, "ValidationError", message, target)


def test_an_unregistered_application_is_refused(acs: EmulatorClient) -> None:
    """It is refused even if the token was issued for it."""
    app_id, user_id = str(uuid4()), str(uuid4())
    token = acs.issuer.sign(TEAMS_AUDIENCE, 60, appid=app_id, oid=user_id)

    response = acs.exchange({"token": token, "appId": app_id, "userId": user_id})

    assert response.error[2] == "AAD application is not the expected one."


def test_repr_does_not_show_tokens() -> None:
    """Tokens do not appear in logs or tracebacks."""
    assert "secret" not in repr(TeamsUser("secret", "secret", "app", "tenant", "user"))


def test_any_user_of_the_tenant_may_exchange(acs: EmulatorClient) -> None:
    """The control endpoint returns any user's token, which is exchanged for that user only."""
    user_id = str(uuid4())

    body = acs.control("POST", "/teams-user", {"userId": user_id}).document

    assert body["userId"] == user_id
    assert acs.exchange(body).status == 200
    assert acs.exchange({**body, "userId": str(uuid4())}).status == 400


@pytest.mark.parametrize("body", [{}, {"userId": "alice"}, {"userId": OTHER, "appId": OTHER}])
def test_the_id_of_a_teams_user_is_a_guid(acs: EmulatorClient, body: object) -> None:
    """The control endpoint refuses other ids, a missing id and further fields."""
    assert acs.control("POST", "/teams-user", body).status == 400
