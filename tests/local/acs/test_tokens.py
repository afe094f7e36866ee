"""Access tokens: what they say, and how long they work."""

import re

import jwt
import pytest

from local.acs.tokens import Signer, timestamp
from tests.local.acs.served import VERSION, Served


def token_of(acs: Served, identity_id: str, minutes: int = 60) -> str:
    """A new voip token of the identity."""
    reply = acs.issue(identity_id, {"scopes": ["voip"], "expiresInMinutes": minutes})
    return str(reply.document["token"])


def test_a_token_has_the_documented_claims(acs: Served) -> None:
    """What client SDKs read is where they look for it."""
    identity_id = acs.create()
    reply = acs.issue(identity_id, {"scopes": ["chat", "voip"], "expiresInMinutes": 90})

    claims = jwt.decode(reply.document["token"], options={"verify_signature": False})

    assert claims.pop("jti")
    assert claims == {
        "skypeid": identity_id.removeprefix("8:"),
        "scp": 1792,
        "csi": str(claims["iat"]),
        "iat": claims["iat"],
        "exp": claims["iat"] + 90 * 60,
        "acsScope": "chat,voip",
        "resourceId": acs.emulator.resource_id,
    }


def test_a_token_has_the_documented_header(acs: Served) -> None:
    """RS256, and a key that is named twice."""
    header = jwt.get_unverified_header(token_of(acs, acs.create()))

    assert sorted(header) == ["alg", "kid", "typ", "x5t"]
    assert (header["alg"], header["typ"]) == ("RS256", "JWT")


def test_expires_on_is_when_the_token_expires(acs: Served) -> None:
    """It has seven fractional digits and the offset +00:00."""
    document = acs.issue(acs.create()).document

    claims = acs.verify(document["token"])["claims"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}\+00:00", document["expiresOn"])
    assert document["expiresOn"][:19] == timestamp(claims["exp"])[:19]


def test_a_new_token_works(acs: Served) -> None:
    """Signed, unexpired, unrevoked: valid."""
    verdict = acs.verify(token_of(acs, acs.create()))

    assert (verdict["valid"], verdict["reason"]) == (True, None)


def test_a_token_made_with_the_identity_works(acs: Served) -> None:
    """Creating both at once gives a token of the new identity."""
    document = acs.signed(
        "POST", f"/identities?{VERSION}", {"createTokenWithScopes": ["voip"]}
    ).document

    verdict = acs.verify(document["accessToken"]["token"])
    assert verdict["valid"]
    assert document["identity"]["id"] == "8:" + verdict["claims"]["skypeid"]


def test_a_token_dies_when_it_expires(acs: Served) -> None:
    """After its minutes it is dead, not before."""
    token = token_of(acs, acs.create(), minutes=60)

    acs.clock.ahead = 59 * 60
    assert acs.verify(token)["valid"]
    acs.clock.ahead = 60 * 60
    assert acs.verify(token)["reason"] == "expired"


def test_revoking_kills_every_token_so_far_and_none_after(acs: Served) -> None:
    """Exact even where all happens within one second, the resolution of `iat`."""
    identity_id = acs.create()
    before = [token_of(acs, identity_id) for _ in range(3)]

    acs.revoke(identity_id)
    after = token_of(acs, identity_id)

    assert [acs.verify(token)["reason"] for token in before] == ["revoked"] * 3
    assert acs.verify(after)["valid"]


def test_revoking_spares_the_tokens_of_others(acs: Served) -> None:
    """Tokens belong to one identity each."""
    spared = token_of(acs, acs.create())

    acs.revoke(acs.create())

    assert acs.verify(spared)["valid"]


def test_deleting_kills_the_tokens(acs: Served) -> None:
    """Delete revokes."""
    identity_id = acs.create()
    token = token_of(acs, identity_id)

    acs.delete(identity_id)

    assert acs.verify(token)["reason"] == "deleted"


def test_a_token_from_before_a_reset_is_unknown(acs: Served) -> None:
    """The emulator has forgotten its identity."""
    token = token_of(acs, acs.create())

    acs.control("POST", "/reset")

    assert acs.verify(token)["reason"] == "unknown"


@pytest.mark.parametrize("token", ["", "garbage", "a.b.c", "\u00e9.\u00e9.\u00e9"])
def test_what_is_no_token_is_malformed(acs: Served, token: str) -> None:
    """Nothing is told about the claims of what is not ours."""
    assert acs.verify(token) == {"valid": False, "reason": "malformed", "claims": None}


def test_a_token_of_another_signer_has_a_wrong_signature(acs: Served) -> None:
    """Another emulator's token does not work here."""
    other = Signer(acs.emulator.resource_id).issue("acs:a_b", ("voip",), now=0, expires=10**10)

    assert acs.verify(other.token) == {"valid": False, "reason": "signature", "claims": None}


def test_timestamps_keep_fractions() -> None:
    """As .NET writes them."""
    assert timestamp(1_700_000_000.25) == "2023-11-14T22:13:20.2500000+00:00"
