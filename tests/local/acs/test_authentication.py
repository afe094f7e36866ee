"""Authentication with access keys and Entra tokens, and regenerating access keys."""

from collections.abc import Callable, Iterator, Mapping
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


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _signed(
    acs: EmulatorClient, target: str = CREATE, *, host: str = "", key: str = ""
) -> dict[str, str]:
    own = f"localhost:{acs.port}"
    headers = signed_headers("POST", target, b"", host=host or own, key=key or acs.keys[0])
    return {**headers, "Host": own}


WRONG_CREDENTIALS: dict[str, Callable[[EmulatorClient], dict[str, str]]] = {
    "none": lambda _: {},
    "signed with another key": lambda acs: _signed(acs, key=random_key()),
    "signed for a longer query": lambda acs: _signed(acs, f"{CREATE}&more=1"),
    "signed for another query": lambda acs: _signed(acs, "/identities?api-version=x"),
    "signed for another host": lambda acs: _signed(acs, host="localhost"),
    "expired token": lambda acs: _bearer(acs.issuer.sign(ACS_AUDIENCE, -1)),
    "token of another tenant": lambda _: _bearer(Issuer().sign(ACS_AUDIENCE, 60)),
}


@pytest.mark.parametrize("credentials", WRONG_CREDENTIALS.values(), ids=WRONG_CREDENTIALS)
def test_wrong_credentials_are_denied(
    acs: EmulatorClient, credentials: Callable[[EmulatorClient], dict[str, str]]
) -> None:
    """The request counts as an attempt, but nothing is created."""
    assert acs.send("POST", CREATE, credentials(acs)).error == DENIED
    assert acs.counts("create") == (1, 0)


def test_a_token_for_another_service_is_denied(acs: EmulatorClient) -> None:
    """An Entra token with another audience is denied."""
    token = acs.issuer.sign(STORAGE_AUDIENCE, 60)

    assert acs.send("POST", CREATE, _bearer(token)).error == DENIED


def test_a_changed_body_is_denied(acs: EmulatorClient) -> None:
    """The signature covers the hash of the body."""
    response = acs.send("POST", CREATE, _signed(acs), b'{"createTokenWithScopes":["voip"]}')

    message = "Request 'x-ms-content-sha256' differs from generated content hash."
    assert response.error == (401, "Denied", message, None)


@pytest.fixture(scope="module")
def authenticator() -> Authenticator:
    """An authenticator whose time is NOW."""
    return Authenticator(Issuer(), AccessKeys("a2V5", "b3RoZXI="), lambda: NOW)


def _signed_at(
    date: str, date_header: str = "x-ms-date", changes: Mapping[str, str] | None = None
) -> Request:
    """A request with this date in this header. `changes` are made after it was signed."""
    headers = CIMultiDict(signed_headers("POST", CREATE, b"", host="localhost", key="a2V5"))
    del headers["x-ms-date"]
    headers[date_header] = date
    request = Request(Operation.CREATE, "POST", CREATE, headers, b"", "2023-10-01")
    names = (date_header, "host", "x-ms-content-sha256")
    signature = sign(string_to_sign(request, names).encode(errors="surrogateescape"), b"key")
    headers["Authorization"] = f"HMAC-SHA256 SignedHeaders={';'.join(names)}&Signature={signature}"
    headers.update(changes or {})
    return request


@pytest.mark.parametrize("header", ["x-ms-date", "date"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_date_must_be_within_five_minutes(
    authenticator: Authenticator, sign: int, header: str
) -> None:
    """The clocks may differ by that much. The first releases of the SDKs sign `date`."""
    accepted, denied = (
        _signed_at(formatdate(NOW + sign * seconds, usegmt=True), header) for seconds in (300, 301)
    )

    authenticator.authenticate(accepted)
    with pytest.raises(ServiceError, match="Denied"):
        authenticator.authenticate(denied)


@pytest.mark.parametrize(("signed", "other"), [("x-ms-date", "date"), ("date", "x-ms-date")])
def test_only_the_signed_date_counts(authenticator: Authenticator, signed: str, other: str) -> None:
    """Another date header changes nothing, and does not make an old request new."""
    now, old = (formatdate(moment, usegmt=True) for moment in (NOW, NOW - 3600))

    authenticator.authenticate(_signed_at(now, signed, {other: old}))
    for request in (_signed_at(old, signed, {other: now}), _signed_at(old, signed, {signed: now})):
        with pytest.raises(ServiceError, match="Denied"):
            authenticator.authenticate(request)


@pytest.mark.parametrize(
    "names",
    [
        "host;x-ms-content-sha256",
        "date;host",
        "host;date;x-ms-content-sha256",
        "Date;host;x-ms-content-sha256",
        "date;x-ms-date;host;x-ms-content-sha256",
    ],
)
def test_other_signed_headers_are_denied(authenticator: Authenticator, names: str) -> None:
    """Every SDK signs the date, the host and the hash of the body, in this order."""
    date = formatdate(NOW, usegmt=True)
    headers = CIMultiDict({**_signed_at(date).headers, "date": date})
    request = Request(Operation.CREATE, "POST", CREATE, headers, b"", "2023-10-01")
    text = string_to_sign(request, names.lower().split(";")).encode()
    headers["Authorization"] = f"HMAC-SHA256 SignedHeaders={names}&Signature={sign(text, b'key')}"

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
    requests = [_signed_at(text)]
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
    """The new key and the other key are accepted, also for identities from before."""
    identity_id = own.create()

    keys = own.control("POST", f"/keys/{name}").document

    other, target = own.keys[1 - index], f"/identities/{identity_id}?{VERSION}"
    assert own.signed("POST", CREATE, key=own.keys[index]).status == 401
    assert own.signed("POST", CREATE, key=keys[name]).status == 201
    assert own.signed("DELETE", target, key=other).status == 204


@pytest.mark.parametrize("keys", [("no base64", random_key()), (random_key(), "no base64")])
def test_a_key_that_is_not_base64_is_refused_at_start(keys: tuple[str, str]) -> None:
    """The error is raised at start, not at the first request."""
    with pytest.raises(ValueError, match=r"base64|padding"):
        AccessKeys(*keys)
