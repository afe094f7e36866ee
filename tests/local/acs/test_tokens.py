"""The content and the validity of access tokens."""

import re

import jwt
import pytest

from local.acs.tokens import Signer, timestamp
from tests.local.acs.conftest import Clock
from tests.local.acs.support import EmulatorClient


def token_of(acs: EmulatorClient, identity_id: str, minutes: int = 60) -> str:
    """Issue a token with the scope voip."""
    response = acs.issue(identity_id, {"scopes": ["voip"], "expiresInMinutes": minutes})
    return str(response.document["token"])


def test_a_token_has_the_documented_claims(acs: EmulatorClient) -> None:
    """A token has the claims that client SDKs read."""
    identity_id = acs.create()
    response = acs.issue(identity_id, {"scopes": ["chat", "voip"], "expiresInMinutes": 90})

    claims = jwt.decode(response.document["token"], options={"verify_signature": False})

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


def test_a_token_has_the_documented_header(acs: EmulatorClient) -> None:
    """The algorithm is RS256. `kid` and `x5t` both identify the key."""
    header = jwt.get_unverified_header(token_of(acs, acs.create()))

    assert sorted(header) == ["alg", "kid", "typ", "x5t"]
    assert (header["alg"], header["typ"]) == ("RS256", "JWT")


def test_expires_on_is_the_expiry_of_the_token(acs: EmulatorClient) -> None:
    """It has seven fractional digits and the offset +00:00."""
    document = acs.issue(acs.create()).document

    claims = acs.verify(document["token"])["claims"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}\+00:00", document["expiresOn"])
    assert document["expiresOn"][:19] == timestamp(claims["exp"])[:19]


def test_a_token_expires(acs: EmulatorClient, clock: Clock) -> None:
    """A token is valid until its lifetime has passed."""
    token = token_of(acs, acs.create(), minutes=60)

    clock.offset = 59 * 60
    assert (acs.verify(token)["valid"], acs.verify(token)["reason"]) == (True, None)
    clock.offset = 60 * 60
    assert acs.verify(token)["reason"] == "expired"


def test_revoking_affects_the_earlier_tokens_of_the_identity(acs: EmulatorClient) -> None:
    """This also holds within one second, which is the resolution of `iat`."""
    identity_id = acs.create()
    before = [token_of(acs, identity_id) for _ in range(3)]
    other = token_of(acs, acs.create())

    acs.revoke(identity_id)
    after = token_of(acs, identity_id)

    assert [acs.verify(token)["reason"] for token in before] == ["revoked"] * 3
    assert acs.verify(after)["valid"]
    assert acs.verify(other)["valid"]


def test_deletion_and_reset_invalidate_tokens(acs: EmulatorClient) -> None:
    """After a reset, the identity of a token is unknown."""
    identity_id = acs.create()
    token = token_of(acs, identity_id)

    acs.delete(identity_id)
    assert acs.verify(token)["reason"] == "deleted"

    acs.control("POST", "/reset")
    assert acs.verify(token)["reason"] == "unknown"


@pytest.mark.parametrize("token", ["", "garbage", "a.b.c", "\u00e9.\u00e9.\u00e9"])
def test_a_malformed_token_is_invalid(acs: EmulatorClient, token: str) -> None:
    """Its claims are not returned."""
    assert acs.verify(token) == {"valid": False, "reason": "malformed", "claims": None}


def test_a_token_signed_with_another_key_is_invalid(acs: EmulatorClient) -> None:
    """Its claims are not returned, even if they are right."""
    other = Signer(acs.emulator.resource_id).sign("acs:a_b", ("voip",), now=0, expires=10**10)

    assert acs.verify(other.token) == {"valid": False, "reason": "signature", "claims": None}


def test_timestamps_have_fractions() -> None:
    """A time has the format of .NET."""
    assert timestamp(1_700_000_000.25) == "2023-11-14T22:13:20.2500000+00:00"
