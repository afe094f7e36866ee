"""What tokens callers may have: facts about the policy and the settings it comes from."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from identity_service.model import Scope, TokenPolicy

from identity_service.errors import NotAllowed, NotConfigured
from identity_service.settings import SCOPES, Settings

ENVIRON = {
    "COMMUNICATION_SERVICES_ENDPOINT": "https://contoso.communication.azure.com",
    "AzureWebJobsStorage__accountName": "contoso",
    "CLEANUP_SCHEDULE": "0 */5 * * * *",
}
POLICY = TokenPolicy(scopes=("chat", "voip"), default_minutes=60, max_minutes=240)


def settings(**changes: str) -> Settings:
    """Settings that are right but for the changes."""
    return Settings.from_env(ENVIRON | changes)


@pytest.mark.parametrize(("asked", "given_"), [(None, 60), (60, 60), (61, 61), (240, 240)])
def test_what_is_allowed_is_given(asked: int | None, given_: int) -> None:
    """Up to the longest lifetime; who asks for none gets the default."""
    assert POLICY.grant(["chat", "voip"], asked) == given_
    assert POLICY.grant(["voip"], asked) == given_


@pytest.mark.parametrize(
    "scopes", [["voip.join"], ["chat", "chat.join"], ["chat.join.limited", "chat"]]
)
def test_more_scopes_are_refused(scopes: list[Scope]) -> None:
    """With those that are given; a wider one contains no narrower one."""
    with pytest.raises(NotAllowed) as refused:
        POLICY.grant(scopes, None)

    error = refused.value
    assert (error.field, error.allowed) == ("scopes", "chat, voip")


@pytest.mark.parametrize("minutes", [241, 1440])
def test_a_longer_life_is_refused(minutes: int) -> None:
    """With what is given."""
    with pytest.raises(NotAllowed) as refused:
        POLICY.grant(["chat"], minutes)

    error = refused.value
    assert (error.field, error.allowed) == ("expiresInMinutes", "60 to 240")


scopes = st.lists(st.sampled_from(get_args(Scope)), min_size=1, unique=True)


@given(scopes, scopes, st.integers(60, 1440), st.none() | st.integers(60, 1440))
def test_nobody_ever_gets_more(
    allowed: list[Scope], asked: list[Scope], highest: int, minutes: int | None
) -> None:
    """Whatever is asked for: it is within the policy, or it is refused."""
    policy = TokenPolicy(tuple(allowed), 60, highest)
    within = set(asked) <= set(allowed) and (minutes or 60) <= highest

    try:
        granted = policy.grant(asked, minutes)
    except NotAllowed:
        assert not within
    else:
        assert within
        assert granted == (minutes or 60)


def test_the_defaults() -> None:
    """A user may chat and call for an hour, a service anything for a day; strangers are served."""
    made = settings()

    assert made.user_tokens == TokenPolicy(("chat", "voip"), 60, 240)
    assert made.service_tokens == TokenPolicy(SCOPES, 1440, 1440)
    assert (made.registered_only, made.sign_in_enabled, made.teams_app_id) == (False, False, "")


def test_every_kind_of_caller_has_a_policy_of_its_own() -> None:
    """Scopes are separated by blanks or commas, and come in ACS's order."""
    made = settings(
        USER_TOKEN_SCOPES="voip.join, chat",
        USER_TOKEN_DEFAULT_MINUTES="90",
        USER_TOKEN_MAX_MINUTES="100",
        SERVICE_TOKEN_SCOPES="chat",
        SERVICE_TOKEN_DEFAULT_MINUTES="60",
        SERVICE_TOKEN_MAX_MINUTES="1000",
    )

    assert made.user_tokens == TokenPolicy(("chat", "voip.join"), 90, 100)
    assert made.service_tokens == TokenPolicy(("chat",), 60, 1000)


def test_a_lower_maximum_lowers_the_default() -> None:
    """Where no default is set."""
    assert settings(SERVICE_TOKEN_MAX_MINUTES="90").service_tokens.default_minutes == 90


@pytest.mark.parametrize("kind", ["USER", "SERVICE"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SCOPES", "chat spam"),
        ("SCOPES", "Chat"),
        ("SCOPES", "all"),
        ("SCOPES", "*"),
        ("DEFAULT_MINUTES", "59"),
        ("DEFAULT_MINUTES", "1441"),
        ("MAX_MINUTES", "59"),
        ("MAX_MINUTES", "1441"),
        ("MAX_MINUTES", "60.0"),
        ("MAX_MINUTES", "-60"),
        ("MAX_MINUTES", "an hour"),
    ],
)
def test_a_wrong_policy_is_a_fault(kind: str, name: str, value: str) -> None:
    """It names the setting, and is never read as a wider one."""
    with pytest.raises(NotConfigured, match=f"{kind}_TOKEN_{name}"):
        settings(**{f"{kind}_TOKEN_{name}": value})


def test_a_default_above_the_maximum_is_a_fault() -> None:
    """One of the two must be wrong."""
    with pytest.raises(NotConfigured, match="USER_TOKEN_DEFAULT_MINUTES must not be more"):
        settings(USER_TOKEN_DEFAULT_MINUTES="120", USER_TOKEN_MAX_MINUTES="60")


@pytest.mark.parametrize(
    ("name", "value"),
    [("REGISTERED_IDENTITIES_ONLY", "yes"), ("TEAMS_APP_ID", "no-guid"), ("TEAMS_APP_ID", "1")],
)
def test_what_is_no_flag_and_no_guid_is_a_fault(name: str, value: str) -> None:
    """It is named."""
    with pytest.raises(NotConfigured, match=name):
        settings(**{name: value})


@pytest.mark.parametrize(
    ("value", "enabled"),
    [("True", True), ("true", True), ("False", False), ("", False), ("1", False), ("yes", False)],
)
def test_sign_in_is_on_only_where_the_platform_says_true(value: str, enabled: bool) -> None:
    """Anything else is no."""
    assert settings(WEBSITE_AUTH_ENABLED=value).sign_in_enabled is enabled
