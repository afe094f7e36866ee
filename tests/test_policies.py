"""What the operator's policies allow, and the settings that they come from."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity_service.errors import NotAllowed
from identity_service.policies import SCOPES, AccessToken, Scope, TokenGrant, TokenPolicy
from identity_service.settings import Settings, read_settings

ENVIRON = {
    "COMMUNICATION_SERVICES_ENDPOINT": "https://contoso.communication.azure.com",
    "AzureWebJobsStorage__accountName": "contoso",
    "CLEANUP_SCHEDULE": "0 */5 * * * *",
}
POLICY = TokenPolicy(scopes=("chat", "voip"), default_minutes=60, max_minutes=240)


def settings(**changes: str) -> Settings:
    """Valid settings with these changes."""
    reading = read_settings(ENVIRON | changes)
    assert reading.invalid == []
    return reading.settings


def invalid(**changes: str) -> list[str]:
    """What is wrong with the settings after these changes."""
    return read_settings(ENVIRON | changes).invalid


def test_refresh_after() -> None:
    """A client should request the next token ten minutes before the expiry."""
    token = AccessToken("a.b.c", datetime(2030, 1, 2, 12, tzinfo=UTC))

    assert token.refresh_after == token.expires_on - timedelta(minutes=10)


@pytest.mark.parametrize(("requested", "minutes"), [(None, 60), (60, 60), (61, 61), (240, 240)])
@pytest.mark.parametrize("scopes", [["chat", "voip"], ["voip"]])
def test_allowed_request(scopes: list[Scope], requested: int | None, minutes: int) -> None:
    """An allowed request is granted. The default lifetime applies if it gives none."""
    assert POLICY.grant(scopes, requested) == TokenGrant(tuple(scopes), minutes)


def test_request_without_scopes() -> None:
    """A request without scopes gets all that the policy allows."""
    assert POLICY.grant(None, None) == TokenGrant(("chat", "voip"), 60)


@pytest.mark.parametrize(
    ("scopes", "minutes", "field", "allowed"),
    [
        (["voip.join"], None, "scopes", "chat, voip"),
        (["chat", "chat.join"], None, "scopes", "chat, voip"),
        (["chat.join.limited", "chat"], None, "scopes", "chat, voip"),
        (["chat"], 241, "expiresInMinutes", "60 to 240"),
        (["chat"], 1440, "expiresInMinutes", "60 to 240"),
        (None, 241, "expiresInMinutes", "60 to 240"),
    ],
)
def test_refused_request(
    scopes: list[Scope] | None, minutes: int | None, field: str, allowed: str
) -> None:
    """Another scope, or a longer lifetime, is refused. A scope does not include narrower ones."""
    with pytest.raises(NotAllowed) as caught:
        POLICY.grant(scopes, minutes)

    assert (caught.value.field, caught.value.allowed) == (field, allowed)


scope_lists = st.lists(st.sampled_from(SCOPES), min_size=1, unique=True)


@given(
    scope_lists, st.none() | scope_lists, st.integers(60, 1440), st.none() | st.integers(60, 1440)
)
def test_nothing_beyond_the_policy(
    allowed: list[Scope], scopes: list[Scope] | None, max_minutes: int, minutes: int | None
) -> None:
    """Any request is either within the policy and granted as it is, or refused."""
    policy = TokenPolicy(tuple(allowed), 60, max_minutes)
    is_within = set(scopes or allowed) <= set(allowed) and (minutes or 60) <= max_minutes

    try:
        granted = policy.grant(scopes, minutes)
    except NotAllowed:
        assert not is_within
    else:
        assert is_within
        assert granted == TokenGrant(tuple(scopes or allowed), minutes or 60)


# Settings


def test_defaults() -> None:
    """By default users get chat and calls for an hour, and services everything for a day."""
    defaults = settings()

    assert defaults.user_tokens == TokenPolicy(("chat", "voip"), 60, 240)
    assert defaults.service_tokens == TokenPolicy(SCOPES, 1440, 1440)
    assert (defaults.registered_only, defaults.sign_in_enabled) == (False, False)
    assert defaults.teams_app_id == ""


def test_policy_for_each_kind_of_caller() -> None:
    """Users and services have separate policies. Spaces or commas separate the scopes."""
    changed = settings(
        USER_TOKEN_SCOPES="voip.join, chat",
        USER_TOKEN_DEFAULT_MINUTES="90",
        USER_TOKEN_MAX_MINUTES="100",
        SERVICE_TOKEN_SCOPES="voip chat",
        SERVICE_TOKEN_DEFAULT_MINUTES="60",
        SERVICE_TOKEN_MAX_MINUTES="1000",
    )

    assert changed.user_tokens == TokenPolicy(("chat", "voip.join"), 90, 100)
    assert changed.service_tokens == TokenPolicy(("chat", "voip"), 60, 1000)


def test_default_lifetime_follows_the_maximum() -> None:
    """If no default lifetime is set, a lower maximum lowers it."""
    assert settings(SERVICE_TOKEN_MAX_MINUTES="90").service_tokens.default_minutes == 90


@pytest.mark.parametrize("kind", ["USER", "SERVICE"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("SCOPES", value) for value in ("chat spam", "Chat", "all", "*")),
        *(("DEFAULT_MINUTES", value) for value in ("59", "1441")),
        *(("MAX_MINUTES", value) for value in ("59", "1441", "60.0", "-60", "an hour")),
    ],
)
def test_invalid_policy(kind: str, name: str, value: str) -> None:
    """An invalid policy is reported by the name of its setting, and not read as a wider one."""
    [problem] = invalid(**{f"{kind}_TOKEN_{name}": value})

    assert problem.startswith(f"{kind}_TOKEN_{name} must be ")


def test_default_above_the_maximum() -> None:
    """A default lifetime above the maximum is invalid."""
    [problem] = invalid(USER_TOKEN_DEFAULT_MINUTES="120", USER_TOKEN_MAX_MINUTES="60")

    assert problem == "USER_TOKEN_DEFAULT_MINUTES must not be more than USER_TOKEN_MAX_MINUTES."


@pytest.mark.parametrize(
    ("name", "value"),
    [("REGISTERED_IDENTITIES_ONLY", "yes"), ("TEAMS_APP_ID", "no-guid"), ("TEAMS_APP_ID", "1")],
)
def test_invalid_flag_and_guid(name: str, value: str) -> None:
    """An invalid flag or GUID is reported by the name of its setting."""
    [problem] = invalid(**{name: value})

    assert problem.startswith(f"{name} must be ")


@pytest.mark.parametrize(
    ("value", "is_enabled"),
    [("True", True), ("true", True), ("False", False), ("", False), ("1", False), ("yes", False)],
)
def test_sign_in(value: str, is_enabled: bool) -> None:
    """Sign-in is enabled only if the platform says true. Any other value means no."""
    assert settings(WEBSITE_AUTH_ENABLED=value).sign_in_enabled is is_enabled
