"""Who may call: holders of either key, and of an Entra token for the service."""

from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from local.acs.access_keys import AccessKeys
from local.acs.authentication import Authenticator, sign, string_to_sign
from local.acs.errors import RefusedError
from local.acs.messages import Call, Operation
from local.entra import ACS_AUDIENCE, STORAGE_AUDIENCE, Issuer
from tests.local.acs.served import VERSION, Served, random_key, signed_headers

NOW = 1_700_000_000
TARGET = f"/identities?{VERSION}"
DENIED = (401, "Denied", "Denied by the resource provider.", None)


def bearer(token: str) -> dict[str, str]:
    """The header that carries an Entra token."""
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("index", [0, 1])
def test_both_keys_are_valid(acs: Served, index: int) -> None:
    """Primary and secondary key open the resource alike."""
    assert acs.signed("POST", TARGET, key=acs.keys[index]).status == 201


def test_a_wrong_key_is_denied(acs: Served) -> None:
    """A signature made with another key proves nothing."""
    assert acs.signed("POST", TARGET, key=random_key()).error == DENIED


def test_a_body_that_is_not_the_signed_one_is_denied(acs: Served) -> None:
    """The hash covers the body: a signed request cannot be given another one."""
    headers = signed_headers("POST", TARGET, b"{}", host=f"localhost:{acs.port}", key=acs.keys[0])

    reply = acs.send("POST", TARGET, headers, b'{"createTokenWithScopes":["voip"]}')

    message = "Request 'x-ms-content-sha256' differs from generated content hash."
    assert reply.error == (401, "Denied", message, None)


@pytest.mark.parametrize(
    ("method", "target"), [("POST", f"{TARGET}&more=1"), ("POST", "/identities?api-version=x")]
)
def test_a_target_that_is_not_the_signed_one_is_denied(
    acs: Served, method: str, target: str
) -> None:
    """The signature covers path and query as they stand on the wire."""
    headers = signed_headers(method, TARGET, b"", host=f"localhost:{acs.port}", key=acs.keys[0])

    assert acs.send(method, target, headers).error == DENIED


def test_a_host_that_is_not_the_signed_one_is_denied(acs: Served) -> None:
    """The signature covers the host, its port included."""
    headers = signed_headers("POST", TARGET, b"", host="localhost", key=acs.keys[0])
    headers["Host"] = f"localhost:{acs.port}"

    assert acs.send("POST", TARGET, headers).error == DENIED


def test_a_caller_without_credentials_is_denied(acs: Served) -> None:
    """Nobody is anonymous."""
    assert acs.send("POST", TARGET, {}).error == DENIED


def test_a_token_for_the_service_is_accepted(acs: Served) -> None:
    """Signature, audience, issuer and time are right: come in."""
    token = acs.issuer.sign(ACS_AUDIENCE, 60)

    assert acs.send("POST", TARGET, bearer(token)).status == 201


def test_a_token_for_another_service_is_denied(acs: Served) -> None:
    """The audience must be the service's."""
    token = acs.issuer.sign(STORAGE_AUDIENCE, 60)

    assert acs.send("POST", TARGET, bearer(token)).error == DENIED


def test_an_expired_token_is_denied(acs: Served) -> None:
    """A token opens nothing after its time."""
    token = acs.issuer.sign(ACS_AUDIENCE, -1)

    assert acs.send("POST", TARGET, bearer(token)).error == DENIED


def test_a_token_of_another_tenant_is_denied(acs: Served) -> None:
    """The signature must be that of the issuer."""
    token = Issuer().sign(ACS_AUDIENCE, 60)

    assert acs.send("POST", TARGET, bearer(token)).error == DENIED


def test_a_denied_call_has_no_effect(acs: Served) -> None:
    """It is counted as an attempt, and that is all."""
    acs.send("POST", TARGET, {})

    assert acs.counts("create") == (1, 0)


@pytest.fixture(scope="module")
def authenticator() -> Authenticator:
    """Knows two keys, and stands still in time."""
    return Authenticator(Issuer(), AccessKeys("a2V5", "b3RoZXI="), lambda: NOW)


def signed_call(date: str) -> Call:
    """A call signed with the first key at a date of its own claim."""
    headers = signed_headers("POST", TARGET, b"", host="localhost", key="a2V5")
    call = Call(
        operation=Operation.CREATE,
        method="POST",
        target=TARGET,
        headers=CIMultiDict({**headers, "x-ms-date": date}),
        body=b"",
        api_version="2023-10-01",
    )
    signature = sign(string_to_sign(call).encode(errors="surrogateescape"), b"key")
    credentials = f"SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={signature}"
    call.headers["Authorization"] = f"HMAC-SHA256 {credentials}"  # type: ignore[index]  # made above, and so no proxy
    return call


@pytest.mark.parametrize("offset", [-300, 0, 300])
def test_a_request_within_five_minutes_is_accepted(
    authenticator: Authenticator, offset: int
) -> None:
    """Clocks may differ by that much, either way."""
    authenticator.authenticate(signed_call(formatdate(NOW + offset, usegmt=True)))


@pytest.mark.parametrize("offset", [-301, 301])
def test_a_request_outside_of_five_minutes_is_denied(
    authenticator: Authenticator, offset: int
) -> None:
    """A signed request cannot be replayed for ever."""
    call = signed_call(formatdate(NOW + offset, usegmt=True))

    with pytest.raises(RefusedError, match="Denied"):
        authenticator.authenticate(call)


# A busy machine is slow, and that is no fault of the code.
@settings(deadline=None, max_examples=50)
@given(
    st.text(st.characters(codec="utf-8")).map(
        lambda text: text.encode().decode("ascii", "surrogateescape")
    )
)
def test_no_header_makes_authentication_fail_but_by_denying(text: str) -> None:
    """Whatever stands in a header, the answer is 401."""
    authenticator = Authenticator(ISSUER, AccessKeys("a2V5", "b3RoZXI="), lambda: NOW)
    for credentials in (text, f"Bearer {text}", f"HMAC-SHA256 {text}"):
        call = signed_call(text)
        headers = CIMultiDict({**call.headers, "Authorization": credentials})
        stranger = Call(call.operation, "POST", TARGET, headers, b"", None)
        for attempt in (call, stranger):
            with pytest.raises(RefusedError, match="401 Denied"):
                authenticator.authenticate(attempt)


# Hypothesis wants no function-scoped fixtures, and making a key takes a tenth of a second.
ISSUER = Issuer()
