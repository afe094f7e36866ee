"""What the operator's policies allow."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity_service.errors import NotAllowed
from identity_service.policies import SCOPES, AccessToken, Scope, TokenGrant, TokenPolicy

HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
POLICY = TokenPolicy(scopes=("chat", "voip"), default_minutes=60, max_minutes=240)


NOW = datetime(2030, 1, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("lifetime", "refresh_after"),
    [
        (24 * HOUR, 24 * HOUR - 10 * MINUTE),
        (HOUR, 50 * MINUTE),
        (11 * MINUTE, MINUTE),
        (10 * MINUTE + SECOND, SECOND),
        (10 * MINUTE, 5 * MINUTE),
        (8 * MINUTE, 4 * MINUTE),
        (9 * SECOND, 5 * SECOND),
        (SECOND, SECOND),
        (timedelta(), timedelta()),
        (-MINUTE, -MINUTE),
    ],
    ids=str,
)
def test_refresh_after(lifetime: timedelta, refresh_after: timedelta) -> None:
    """A token is refreshed ten minutes before its expiry, or at half of a shorter lifetime."""
    token = AccessToken.received("a.b.c", NOW + lifetime, NOW)

    assert (token.expires_on, token.refresh_after) == (NOW + lifetime, NOW + refresh_after)


@given(
    st.datetimes(timezones=st.just(UTC), max_value=datetime(9000, 1, 1)),  # noqa: DTZ001 -- hypothesis adds the zone
    st.timedeltas(SECOND, 24 * HOUR),
)
def test_refresh_lies_before_the_expiry(now: datetime, lifetime: timedelta) -> None:
    """The refresh lies between now and the expiry, both in whole seconds, as ACS's SDKs do it.

    A client that obeys it never loops: it waits for at least half of a short lifetime.
    """
    token = AccessToken.received("a.b.c", now + lifetime, now)
    left = token.expires_on - now
    by_microsoft = left / 2 if left <= 10 * MINUTE else left - 10 * MINUTE

    assert now <= token.refresh_after <= token.expires_on <= now + lifetime
    assert timedelta() <= token.refresh_after - (now + by_microsoft) < SECOND
    assert token.refresh_after.microsecond == token.expires_on.microsecond == 0


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
