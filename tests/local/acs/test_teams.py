"""The exchange of a Teams user's Entra token."""

from uuid import uuid4

import pytest

from local.acs import TeamsUser
from local.entra import ACS_AUDIENCE, TEAMS_AUDIENCE
from tests.local.acs.served import Served

OTHER = "00000000-0000-4000-8000-000000000000"
NOT_VALID = (401, "InvalidAccessToken", "Provided access token is not valid.", None)


def body_of(acs: Served, **changes: object) -> dict[str, object]:
    """A body that is right but for the changes."""
    user = acs.emulator.teams_user()
    return {"token": user.token, "appId": user.app_id, "userId": user.user_id, **changes}


def test_an_exchanged_token_works(acs: Served) -> None:
    """The token is the Teams user's, for calling."""
    body = body_of(acs)

    reply = acs.exchange(body)

    verdict = acs.verify(reply.document["token"])
    assert (reply.status, verdict["valid"]) == (200, True)
    assert verdict["claims"]["skypeid"] == f"orgid:{body['userId']}"


def test_an_exchanged_token_lives_as_long_as_the_entra_token(acs: Served) -> None:
    """The lifetime is Entra's, not the caller's choice."""
    user = acs.emulator.teams_user()
    token = acs.issuer.sign(TEAMS_AUDIENCE, 1234, appid=user.app_id, oid=user.user_id)

    exchanged = acs.exchange(body_of(acs, token=token)).document["token"]

    expires = acs.issuer.verify(token, TEAMS_AUDIENCE)["exp"]
    assert acs.verify(exchanged)["claims"]["exp"] == expires


def test_the_made_up_user_stays_the_same(acs: Served) -> None:
    """Whoever asks again gets other tokens at most."""
    first, second = acs.emulator.teams_user(), acs.emulator.teams_user()

    assert (first.app_id, first.user_id) == (second.app_id, second.user_id)


def test_any_user_of_the_tenant_may_exchange(acs: Served) -> None:
    """The application is the expected one; its users are many."""
    app_id, user_id = acs.emulator.teams_user().app_id, str(uuid4())
    token = acs.issuer.sign(TEAMS_AUDIENCE, 60, appid=app_id, oid=user_id)

    reply = acs.exchange({"token": token, "appId": app_id, "userId": user_id})

    assert reply.status == 200


@pytest.mark.parametrize("token", ["", None, "garbage", "a.b.c", "\u00e9"])
def test_a_token_that_is_none_is_not_valid(acs: Served, token: str | None) -> None:
    """The token is checked first: what the other fields say does not matter."""
    assert acs.exchange({"token": token, "appId": "", "userId": ""}).error == NOT_VALID


def test_an_expired_token_is_not_valid(acs: Served) -> None:
    """The user has to sign in again."""
    expired = acs.emulator.teams_user().expired_token

    assert acs.exchange(body_of(acs, token=expired)).error == NOT_VALID


def test_a_token_for_another_audience_is_not_valid(acs: Served) -> None:
    """An Entra token for the service itself is no Teams user's."""
    token = acs.issuer.sign(ACS_AUDIENCE, 60)

    assert acs.exchange(body_of(acs, token=token)).error == NOT_VALID


@pytest.mark.parametrize(
    ("app_id", "message", "target"),
    [
        ("", "AppId: The AppId field is required.", "AppId"),
        (None, "AppId: The AppId field is required.", "AppId"),
        ("garbage", "Provided AppId has invalid format.", "appId"),
        (OTHER, "AAD application is not the expected one.", "appId"),
    ],
)
def test_another_application_is_refused(
    acs: Served, app_id: str | None, message: str, target: str
) -> None:
    """The application must be named, and be the one that the token was made for."""
    reply = acs.exchange(body_of(acs, appId=app_id))

    assert reply.error == (400, "ValidationError", message, target)


def test_a_token_of_an_unregistered_application_is_refused(acs: Served) -> None:
    """Exactly one application is registered, whatever token and body agree upon."""
    app_id, user_id = str(uuid4()), str(uuid4())
    token = acs.issuer.sign(TEAMS_AUDIENCE, 60, appid=app_id, oid=user_id)

    reply = acs.exchange({"token": token, "appId": app_id, "userId": user_id})

    assert reply.error[2] == "AAD application is not the expected one."


@pytest.mark.parametrize(
    ("user_id", "message"),
    [
        ("garbage", "Provided UserId has invalid format."),
        (OTHER, "Provided AAD token issued for unexpected user."),
    ],
)
def test_another_user_is_refused(acs: Served, user_id: str, message: str) -> None:
    """The user must be the one that the token was made for."""
    reply = acs.exchange(body_of(acs, userId=user_id))

    assert reply.error == (400, "ValidationError", message, "userId")


def test_the_users_secrets_are_not_shown() -> None:
    """Tokens stay out of logs and tracebacks."""
    assert "secret" not in repr(TeamsUser("secret", "secret", "app", "user"))


def test_the_control_endpoint_gives_any_users_token(acs: Served) -> None:
    """With which its user exchanges it, and nobody else."""
    user_id = str(uuid4())
    wanted = acs.control("POST", "/teams-user", {"userId": user_id}).document

    assert wanted["userId"] == user_id
    assert acs.exchange(wanted).status == 200
    assert acs.exchange({**wanted, "userId": str(uuid4())}).status == 400


@pytest.mark.parametrize("body", [{}, {"userId": "alice"}, {"userId": OTHER, "appId": OTHER}])
def test_a_teams_user_is_known_by_a_guid(acs: Served, body: object) -> None:
    """As in Entra."""
    assert acs.control("POST", "/teams-user", body).status == 400
