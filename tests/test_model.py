"""The rules over our values."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from identity_service.model import AccessToken, IssuedToken, TokenRequest, identity_id

from identity_service.errors import InvalidIdentityId
from tests.fakes import IDENTITY

GUIDS = IDENTITY.removeprefix("8:acs:")
EXPIRY = datetime(2030, 1, 2, 12, tzinfo=UTC)

REFUSED = {
    "empty": "",
    "spaces": " ",
    "no prefix": GUIDS,
    "another kind of user": f"8:orgid:{GUIDS}",
    "prefix in upper case": f"8:ACS:{GUIDS}",
    "one GUID": IDENTITY.partition("_")[0],
    "three GUIDs": f"{IDENTITY}_{GUIDS.partition('_')[0]}",
    "upper case": IDENTITY.replace("a", "A"),
    "space before": f" {IDENTITY}",
    "space after": f"{IDENTITY} ",
    "space within": IDENTITY.replace("-", " ", 1),
    "newline after": f"{IDENTITY}\n",
    "slash": f"{IDENTITY}/",
    "encoded slash": f"{IDENTITY}%2F",
    "encoded colons": IDENTITY.replace(":", "%3A"),
    "question mark": f"{IDENTITY}?",
    "dots": "..",
    "nothing but a slash": "/",
    "10,000 characters": "8:acs:" + "1" * 9_994,
    "10,000 characters after it": IDENTITY + "1" * 10_000,
    "emoji": IDENTITY[:-1] + "😀",
    "full-width digits": IDENTITY.replace("1", "\N{FULLWIDTH DIGIT ONE}"),
    "Arabic digits": IDENTITY.replace("1", "\N{ARABIC-INDIC DIGIT ONE}"),
    "not hexadecimal": IDENTITY.replace("2a", "2g"),
    "null character": f"{IDENTITY}\0",
}

GUID = st.from_regex(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", fullmatch=True)


@pytest.mark.parametrize("prefix", ["8:acs:", "8:gcch-acs:", "8:dod-acs:"])
def test_takes_the_ids_of_every_cloud(prefix: str) -> None:
    """An id of the public cloud or of a sovereign one comes back as it is."""
    text = prefix + GUIDS

    taken = identity_id(text)

    assert taken == text


@pytest.mark.parametrize("text", list(REFUSED.values()), ids=list(REFUSED))
def test_refuses_what_is_no_id(text: str) -> None:
    """What is not exactly an id of ACS is refused."""
    with pytest.raises(InvalidIdentityId):
        identity_id(text)


def test_refusal_helps() -> None:
    """A refusal names the part of the address and what it should be."""
    with pytest.raises(InvalidIdentityId) as caught:
        identity_id("nobody")

    assert (caught.value.field, caught.value.allowed) == (
        "id",
        "8:acs:<GUID>_<GUID> in lower case (8:gcch-acs: and 8:dod-acs: too)",
    )


def test_refusal_repeats_nothing() -> None:
    """A refusal does not repeat what it was given: that may be anything."""
    with pytest.raises(InvalidIdentityId) as caught:
        identity_id("nobody-knows")

    assert "nobody-knows" not in caught.value.detail


@given(resource=GUID, user=GUID)
def test_takes_any_two_guids(resource: str, user: str) -> None:
    """Any two GUIDs in lower case make an id; neither needs a version."""
    text = f"8:acs:{resource}_{user}"

    taken = identity_id(text)

    assert taken == text


@given(
    position=st.integers(0, len(IDENTITY) - 1),
    stranger=st.characters().filter(lambda one: one not in "0123456789abcdef:-_"),
)
def test_refuses_one_strange_character(position: int, stranger: str) -> None:
    """One character that has no place in an id is enough to refuse it."""
    text = IDENTITY[:position] + stranger + IDENTITY[position + 1 :]

    with pytest.raises(InvalidIdentityId):
        identity_id(text)


def test_refresh_comes_ten_minutes_before_expiry() -> None:
    """A client should refresh when ten minutes are left, as ACS's own SDKs do."""
    token = AccessToken("a.b.c", EXPIRY)

    refresh_after = token.refresh_after

    assert refresh_after == datetime(2030, 1, 2, 11, 50, tzinfo=UTC)


def test_answer_is_in_camel_case_and_utc() -> None:
    """An issued token is answered in camelCase, its times as RFC 3339 in UTC."""
    answer = IssuedToken.of(IDENTITY, AccessToken("a.b.c", EXPIRY))

    members = msgspec.json.decode(msgspec.json.encode(answer))

    assert members == {
        "id": IDENTITY,
        "token": "a.b.c",
        "expiresOn": "2030-01-02T12:00:00Z",
        "refreshAfter": "2030-01-02T11:50:00Z",
    }


def test_absent_lifetime_is_left_to_acs() -> None:
    """Without expiresInMinutes the lifetime is ACS's own choice."""
    request = TokenRequest(scopes=["chat"])

    minutes = request.minutes

    assert minutes is None
