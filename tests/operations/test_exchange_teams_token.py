"""exchange_teams_token: ACS decides. The claims of a token only explain why it is refused."""

import json
from base64 import urlsafe_b64encode
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity_service.errors import TeamsTokenRefused
from identity_service.operations import tokens
from identity_service.operations.tokens import TEAMS_AUDIENCE, exchange_teams_token
from identity_service.schemas import ExchangeTeamsTokenRequest
from tests.support.virtual_time import START
from tests.support.world import World

APP_ID = "AAAAAAAA-2222-3333-4444-555555555555"
USER_ID = "66666666-7777-8888-9999-000000000000"
ACS_APPLICATION = "1fd5118e-2576-4263-8130-9503064c837a"
BY_ACS = "ACS does not accept this Entra token."
NO_JWT = "The token is not a JSON Web Token. Send the Entra access token of the Teams user."
EXPIRED = "The token has expired. Get a new one from Entra."
FOR_ANOTHER = f"The token is for another service. Request it for {TEAMS_AUDIENCE}."
VALID = {"aud": TEAMS_AUDIENCE, "exp": 9_999_999_999}
# A payload without a signature. No test relies on one: the service does not verify it.
DEEP = b"[" * 5_000


def encoded(payload: bytes) -> str:
    """A token with this payload."""
    return f"e30.{urlsafe_b64encode(payload).decode().rstrip('=')}.signature"


def token(**claims: object) -> str:
    """A token with these claims, valid except for them."""
    return encoded(json.dumps({**VALID, **claims}).encode())


async def exchange(world: World, text: str) -> object:
    """Exchange this token."""
    body = ExchangeTeamsTokenRequest(token=text, app_id=APP_ID, user_id=USER_ID)
    return await exchange_teams_token(body, world.acs)


async def refused(world: World, text: str) -> TeamsTokenRefused:
    """The error for this token, which ACS does not accept."""
    error = TeamsTokenRefused(BY_ACS, field="token", upstream_request_id="vector.0")
    world.acs.fails("exchange_teams_token", error)
    with pytest.raises(TeamsTokenRefused) as caught:
        await exchange(world, text)
    return caught.value


async def test_exchange(world: World) -> None:
    """The Entra token is exchanged for a valid one, with the app and the user of the request."""
    body = ExchangeTeamsTokenRequest(token="entra-token", app_id=APP_ID, user_id=USER_ID)
    exchanged = await exchange_teams_token(body, world.acs)

    assert world.acs.exchanges == [("entra-token", APP_ID, USER_ID)]
    assert world.acs.is_valid(exchanged.token)
    assert exchanged.expires_on == START + timedelta(minutes=60)
    assert exchanged.refresh_after == START + timedelta(minutes=50)


@pytest.mark.parametrize(
    "text",
    [token(exp=0), token(aud="https://graph.microsoft.com"), "opaque", encoded(DEEP)],
    ids=["expired", "for another service", "no JWT", "deep"],
)
async def test_acs_decides(world: World, text: str) -> None:
    """The claims are not trusted: a token that ACS accepts is exchanged, whatever they are."""
    await exchange(world, text)

    assert [sent for sent, *_ in world.acs.exchanges] == [text]


BEFORE_ACS = {
    "Bearer": (f"Bearer {token()}", "without Bearer"),
    "bearer": (f"bearer {token()}", "without Bearer"),
    "BEARER and two spaces": (f"BEARER  {token()}", "without Bearer"),
    "Bearer and a tab": (f"Bearer\t{token()}", "without Bearer"),
    "Bearer and a no-break space": (f"Bearer\u00a0{token()}", "without Bearer"),
    "Bearer and an encoded space": (f"Bearer%20{token()}", "without Bearer"),
    "Bearer alone": ("Bearer", "without Bearer"),
    "space and Bearer": (f" Bearer {token()}", "without Bearer"),
    "quotation mark and Bearer": (f'"Bearer {token()}"', "without Bearer"),
    "whole header": (f"Authorization: Bearer {token()}", "without Bearer"),
    "line end": (f"{token()}\n", "white space"),
    "space before": (f" {token()}", "white space"),
    "wrapped": (f"{token()[:20]}\r\n{token()[20:]}", "white space"),
    "no-break space": (f"{token()}\u00a0", "white space"),
    "only spaces": ("   ", "white space"),
}


@pytest.mark.parametrize(("text", "reason"), BEFORE_ACS.values(), ids=BEFORE_ACS)
async def test_malformed_token(world: World, text: str, reason: str) -> None:
    """White space and a prefix are never part of a token. ACS is not called."""
    with pytest.raises(TeamsTokenRefused, match=reason) as caught:
        await exchange(world, text)

    assert caught.value.field == "token"
    assert world.acs.calls == []


AFTER_ACS = {
    "expired": (token(exp=1), EXPIRED),
    "expired, fraction": (token(exp=1.5), EXPIRED),
    "negative expiry": (token(exp=-(10**15)), EXPIRED),
    "expired and for another service": (
        token(exp=1, aud="https://graph.microsoft.com"),
        FOR_ANOTHER,
    ),
    "expired, audience unknown": (encoded(b'{"exp":1}'), EXPIRED),
    "expired, audience by another id": (token(exp=1, aud=ACS_APPLICATION), EXPIRED),
    "for Graph": (token(aud="https://graph.microsoft.com"), FOR_ANOTHER),
    "for Graph by its id": (token(aud="00000003-0000-0000-c000-000000000000"), FOR_ANOTHER),
    "for an API": (token(aud="api://contoso"), FOR_ANOTHER),
    "for the caller's app": (token(aud=APP_ID.lower()), FOR_ANOTHER),
    "for any application": (token(aud="797f4846-ba00-4fd7-ba43-dac1f8f63013"), FOR_ANOTHER),
    "for a name": (token(aud="contoso"), FOR_ANOTHER),
    "for ACS itself": (token(aud="https://communication.azure.com"), FOR_ANOTHER),
    "for a similar host": (token(aud=f"{TEAMS_AUDIENCE}.evil.example"), FOR_ANOTHER),
    "for a path of the host": (token(aud=f"{TEAMS_AUDIENCE}/more"), FOR_ANOTHER),
    "right audience": (token(), BY_ACS),
    "right audience with a slash": (token(aud=f"{TEAMS_AUDIENCE}/"), BY_ACS),
    "audience by another id": (token(aud=ACS_APPLICATION), BY_ACS),
    "audience in upper case": (token(aud=TEAMS_AUDIENCE.upper()), BY_ACS),
    "audiences in a list": (token(aud=["a", "b"]), BY_ACS),
    "no claims": (encoded(b"{}"), BY_ACS),
    "huge expiry": (token(exp=10**300), BY_ACS),
    "expiry beyond a double": (encoded(b'{"exp":1e400}'), BY_ACS),
    "400 digits": (encoded(b'{"exp":%s}' % (b"9" * 400)), BY_ACS),
    "expiry as text": (token(exp="1"), BY_ACS),
    "expiry null": (token(exp=None), BY_ACS),
    "expiry true": (token(exp=True), BY_ACS),
    "deep claim": (encoded(b'{"aud":%s%s}' % (b"[" * 300, b"]" * 300)), BY_ACS),
    "opaque": ("EwBgA8l6BAAU", NO_JWT),
    "one dot": ("a.b", NO_JWT),
    "only dots": ("..", NO_JWT),
    "encrypted": ("a.b.c.d.e", NO_JWT),
    "not base64": ("e30.!!!!.x", NO_JWT),
    "not ASCII": ("e30.é.x", NO_JWT),
    "no JSON": (encoded(b"{"), NO_JWT),
    "no UTF-8": (encoded(b'{"aud":"\xff"}'), NO_JWT),
    "an array": (encoded(b"[]"), NO_JWT),
    "a number": (encoded(b"1"), NO_JWT),
    "deep": (encoded(DEEP), NO_JWT),
    "deep in an unknown claim": (encoded(b'{"more":%s%s}' % (DEEP, b"]" * 5_000)), NO_JWT),
}


@pytest.mark.parametrize(("text", "detail"), AFTER_ACS.values(), ids=AFTER_ACS)
async def test_refused_token(world: World, text: str, detail: str) -> None:
    """If ACS refuses the token, its claims tell why, if they can be read."""
    error = await refused(world, text)

    assert (error.detail, error.field) == (detail, "token")
    assert error.upstream_request_id == "vector.0"


async def test_refused_app_or_user(world: World) -> None:
    """If ACS refuses the app or the user, the token is not blamed."""
    world.acs.fails("exchange_teams_token", TeamsTokenRefused(BY_ACS, field="appId"))
    with pytest.raises(TeamsTokenRefused) as caught:
        await exchange(world, token(exp=1))

    assert (caught.value.detail, caught.value.field) == (BY_ACS, "appId")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
CLAIMS = st.dictionaries(st.sampled_from(["exp", "aud"]) | st.text(), JSON)


@given(
    st.text()
    | st.binary().map(encoded)
    | (JSON | CLAIMS).map(lambda value: encoded(json.dumps(value).encode()))
)
def test_any_token(text: str) -> None:
    """Any refused token has an explanation, or that of ACS. The text is not part of it."""
    explanation = tokens._refusal(text)  # the rest needs an event loop for each example

    assert explanation in {"", NO_JWT, EXPIRED, FOR_ANOTHER}
