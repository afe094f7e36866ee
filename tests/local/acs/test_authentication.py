"""Authentication with access keys and Entra tokens, and regenerating access keys."""

from collections.abc import Iterator
from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from local.acs.authentication import AccessKeys, Authenticator, sign, string_to_sign
from local.acs.contract import Operation, Request
from local.acs.errors import ServiceError
from local.entra import ACS_AUDIENCE, STORAGE_AUDIENCE, Issuer
from tests.local.acs.support import (
    CREATE,
    VERSION,
    EmulatorClient,
    random_key,
    serve,
    signed_headers,
)

NOW = 1_700_000_000
DENIED = (401, "Denied", "Denied by the resource provider.", None)


def bearer(token: str) -> dict[str, str]:
    """The header with an Entra token."""
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("index", [0, 1])
def test_both_keys_are_valid(acs: EmulatorClient, index: int) -> None:
    """A signature made with the primary or the secondary key is accepted."""
    assert acs.signed("POST", CREATE, key=acs.keys[index]).status == 201


def test_a_wrong_key_is_denied(acs: EmulatorClient) -> None:
    """A signature made with another key is denied."""
    assert acs.signed("POST", CREATE, key=random_key()).error == DENIED


def test_a_changed_body_is_denied(acs: EmulatorClient) -> None:
    """The signature covers the hash of the body."""
    headers = signed_headers("POST", CREATE, b"{}", host=f"localhost:{acs.port}", key=acs.keys[0])

    response = acs.send("POST", CREATE, headers, b'{"createTokenWithScopes":["voip"]}')

    message = "Request 'x-ms-content-sha256' differs from generated content hash."
    assert response.error == (401, "Denied", message, None)


@pytest.mark.parametrize("target", [f"{CREATE}&more=1", "/identities?api-version=x"])
def test_a_changed_target_is_denied(acs: EmulatorClient, target: str) -> None:
    """The signature covers path and query, without decoding them."""
    headers = signed_headers("POST", CREATE, b"", host=f"localhost:{acs.port}", key=acs.keys[0])

    assert acs.send("POST", target, headers).error == DENIED


def test_a_changed_host_is_denied(acs: EmulatorClient) -> None:
    """The signature covers the host and its port."""
    headers = signed_headers("POST", CREATE, b"", host="localhost", key=acs.keys[0])
    headers["Host"] = f"localhost:{acs.port}"

    assert acs.send("POST", CREATE, headers).error == DENIED


def test_a_request_without_credentials_is_denied(acs: EmulatorClient) -> None:
    """Anonymous requests are denied."""
    assert acs.send("POST", CREATE, {}).error == DENIED


def test_a_token_for_the_service_is_accepted(acs: EmulatorClient) -> None:
    """An Entra token with the right signature, audience, issuer and time is accepted."""
    token = acs.issuer.sign(ACS_AUDIENCE, 60)

    assert acs.send("POST", CREATE, bearer(token)).status == 201


def test_a_token_for_another_service_is_denied(acs: EmulatorClient) -> None:
    """An Entra token with another audience is denied."""
    token = acs.issuer.sign(STORAGE_AUDIENCE, 60)

    assert acs.send("POST", CREATE, bearer(token)).error == DENIED


def test_an_expired_token_is_denied(acs: EmulatorClient) -> None:
    """An expired Entra token is denied."""
    token = acs.issuer.sign(ACS_AUDIENCE, -1)

    assert acs.send("POST", CREATE, bearer(token)).error == DENIED


def test_a_token_of_another_tenant_is_denied(acs: EmulatorClient) -> None:
    """An Entra token that another issuer signed is denied."""
    token = Issuer().sign(ACS_AUDIENCE, 60)

    assert acs.send("POST", CREATE, bearer(token)).error == DENIED


def test_a_denied_request_has_no_effect(acs: EmulatorClient) -> None:
    """It counts as an attempt, but nothing is created."""
    acs.send("POST", CREATE, {})

    assert acs.counts("create") == (1, 0)


@pytest.fixture(scope="module")
def authenticator() -> Authenticator:
    """An authenticator whose time is NOW."""
    return Authenticator(Issuer(), AccessKeys("a2V5", "b3RoZXI="), lambda: NOW)


def signed_request(date: str) -> Request:
    """A request signed with the first key, with this x-ms-date."""
    headers = CIMultiDict(signed_headers("POST", CREATE, b"", host="localhost", key="a2V5"))
    headers["x-ms-date"] = date
    request = Request(Operation.CREATE, "POST", CREATE, headers, b"", "2023-10-01")
    signature = sign(string_to_sign(request).encode(errors="surrogateescape"), b"key")
    headers["Authorization"] = (
        f"HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={signature}"
    )
    return request


@pytest.mark.parametrize("offset", [-300, 0, 300])
def test_a_date_within_five_minutes_is_accepted(authenticator: Authenticator, offset: int) -> None:
    """The clocks of client and service may differ by five minutes."""
    authenticator.authenticate(signed_request(formatdate(NOW + offset, usegmt=True)))


@pytest.mark.parametrize("offset", [-301, 301])
def test_a_date_outside_of_five_minutes_is_denied(
    authenticator: Authenticator, offset: int
) -> None:
    """A signed request cannot be replayed later than that."""
    request = signed_request(formatdate(NOW + offset, usegmt=True))

    with pytest.raises(ServiceError, match="Denied"):
        authenticator.authenticate(request)


@settings(max_examples=50)
@given(
    text=st.text(st.characters(codec="utf-8")).map(
        lambda text: text.encode().decode("ascii", "surrogateescape")
    )
)
def test_invalid_headers_are_always_denied(authenticator: Authenticator, text: str) -> None:
    """No x-ms-date and no Authorization header causes an error other than 401."""
    requests = [signed_request(text)]
    for credentials in (text, f"Bearer {text}", f"HMAC-SHA256 {text}"):
        headers = CIMultiDict({**requests[0].headers, "Authorization": credentials})
        requests.append(Request(Operation.CREATE, "POST", CREATE, headers, b"", None))

    for request in requests:
        with pytest.raises(ServiceError, match="401 Denied"):
            authenticator.authenticate(request)


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorClient]:
    """An emulator whose keys a test may change."""
    with serve(tmp_path_factory.mktemp("acs")) as client:
        yield client


def test_both_keys_are_shown(acs: EmulatorClient) -> None:
    """The control endpoint returns the keys that the emulator was started with."""
    shown = acs.control("GET", "/keys").document

    assert shown == {"primary": acs.keys[0], "secondary": acs.keys[1]}


@pytest.mark.parametrize(("name", "index"), [("primary", 0), ("secondary", 1)])
def test_a_regenerated_key_replaces_the_old_one(own: EmulatorClient, name: str, index: int) -> None:
    """The old key is denied. The new key and the other key are accepted."""
    keys = own.control("POST", f"/keys/{name}").document

    assert own.signed("POST", CREATE, key=own.keys[index]).status == 401
    assert own.signed("POST", CREATE, key=keys[name]).status == 201
    assert own.signed("POST", CREATE, key=own.keys[1 - index]).status == 201


def test_an_identity_does_not_depend_on_a_key(own: EmulatorClient) -> None:
    """An identity can be deleted after the key that created it was regenerated."""
    identity_id = own.create()

    own.control("POST", "/keys/primary")

    target = f"/identities/{identity_id}?{VERSION}"
    assert own.signed("DELETE", target, key=own.keys[1]).status == 204


def test_an_unknown_key_name_is_not_found(acs: EmulatorClient) -> None:
    """Only the primary and the secondary key can be regenerated."""
    assert acs.control("POST", "/keys/third").error[:2] == (404, "ControlError")


@pytest.mark.parametrize("keys", [("no base64", random_key()), (random_key(), "no base64")])
def test_a_key_that_is_not_base64_is_refused_at_start(keys: tuple[str, str]) -> None:
    """The error is raised at start, not at the first request."""
    with pytest.raises(ValueError, match=r"base64|padding"):
        AccessKeys(*keys)
