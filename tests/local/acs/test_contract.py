"""Validation of requests: api-versions, bodies and identity ids."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.acs import contract
from local.acs.contract import Operation
from local.acs.errors import ServiceError
from tests.local.acs.support import CREATE, EmulatorClient

VERSION = "2023-10-01"
NOT_OWNED = (401, "IdentityNotOwned", "Provided identity doesn't belong to the resource.", None)
NOT_FOUND = (404, "IdentityNotFound", "Provided identity doesn't exist.", None)
UNKNOWN_ID = "8:acs:00000000-0000-0000-0000-000000000000_00000000-0000-0000-0000-000000000000"
DAY = 24 * 60 * 60
LIFETIME = "ExpiresInMinutes value {} is invalid. Value must be within the [60, 1440] interval."
REQUIRED = ("Scopes: The Scopes field is required.", "Scopes")


def _lifetime(acs: EmulatorClient, body: object, version: str = VERSION) -> int:
    token = acs.issue(acs.create(), body, version=version).document["token"]
    claims = acs.verify(token)["claims"]
    return int(claims["exp"] - claims["iat"])


@pytest.mark.parametrize(
    ("body", "message", "target"),
    [
        *(
            ({"scopes": ["voip"], "expiresInMinutes": n}, LIFETIME.format(n), "ExpiresInMinutes")
            for n in (0, -1, 59, 1441)
        ),
        ({"scopes": None}, *REQUIRED),
        ({"expiresInMinutes": 60}, *REQUIRED),
        (b"", *REQUIRED),
        ({"scopes": []}, "Invalid scopes - Scopes field is required.", "scopes"),
    ],
)
def test_a_value_out_of_range_is_refused(
    acs: EmulatorClient, body: object, message: str, target: str
) -> None:
    """A lifetime is within 60 to 1440 minutes. Absent scopes have another error than empty ones."""
    assert acs.issue(acs.create(), body).error == (400, "ValidationError", message, target)


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b"{",
        b'{"scopes":"voip"}',
        b'{"scopes":[1]}',
        b'{"scopes":["\xff"]}',
        b'{"scopes":["chat","VOIP"]}',
        b'{"scopes":["chat",""]}',
        b'{"scopes":["chat","everything"]}',
        b'{"scopes":["voip"],"expiresInMinutes":"60"}',
        b'{"scopes":["voip"],"expiresInMinutes":60.5}',
        b'{"scopes":["voip"],"expiresInMinutes":true}',
    ],
)
def test_a_malformed_body_is_refused(acs: EmulatorClient, body: bytes) -> None:
    """The body is not JSON, or has a wrong type or scope. Scopes are case-sensitive."""
    assert acs.issue(acs.create(), body).error[:2] == (400, "ValidationError")


def test_creating_checks_the_lifetime(acs: EmulatorClient) -> None:
    """No identity is created if the lifetime of its token is invalid."""
    body = {"createTokenWithScopes": ["voip"], "expiresInMinutes": 59}

    assert acs.signed("POST", CREATE, body).status == 400
    assert acs.counts("create") == (1, 0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"createTokenWithScopes":null,"expiresInMinutes":null}',
        b'{"createTokenWithScopes":[]}',
    ],
)
def test_creating_without_scopes_issues_no_token(acs: EmulatorClient, body: bytes) -> None:
    """Older SDKs send nulls, newer ones send nothing. Both request no token."""
    response = acs.signed("POST", CREATE, body)

    assert (response.status, list(response.document)) == (201, ["identity"])


def test_the_default_lifetime_is_a_day(acs: EmulatorClient) -> None:
    """A null lifetime counts as absent."""
    assert _lifetime(acs, {"scopes": ["voip"], "expiresInMinutes": None}) == DAY


@pytest.mark.parametrize("version", ["2021-03-07", "2022-06-01"])
@pytest.mark.parametrize("minutes", [60, 59, "sixty"])
def test_versions_before_2022_10_01_ignore_the_lifetime(
    acs: EmulatorClient, version: str, minutes: object
) -> None:
    """The field is unknown there: any value is accepted, and the token is valid for a day."""
    assert _lifetime(acs, {"scopes": ["voip"], "expiresInMinutes": minutes}, version) == DAY


@pytest.mark.parametrize(
    "identity_id", [UNKNOWN_ID, "8%3Aacs%3Aunknown", "a%2Fb", "%F0%9F%98%80", "x" * 5000]
)
def test_an_unknown_identity_is_not_owned(acs: EmulatorClient, identity_id: str) -> None:
    """The response for an unknown identity is 401, not 404."""
    assert acs.issue(identity_id).error == NOT_OWNED
    assert acs.revoke(identity_id).error == NOT_OWNED
    assert acs.delete(identity_id).error == NOT_OWNED


def test_identity_ids_are_case_sensitive(acs: EmulatorClient) -> None:
    """An id in upper case is unknown."""
    assert acs.delete(acs.create().upper()).error == NOT_OWNED


def test_a_deleted_identity_is_not_found(acs: EmulatorClient) -> None:
    """Every operation on a deleted identity is 404."""
    identity_id = acs.create()
    acs.delete(identity_id)

    assert acs.issue(identity_id).error == NOT_FOUND
    assert acs.revoke(identity_id).error == NOT_FOUND
    assert acs.delete(identity_id).error == NOT_FOUND


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "ApiVersionUnspecified"),
        ("?api-version=2025-03-02-preview", "UnsupportedApiVersion"),
        ("?api-version=2026-09-24", "UnsupportedApiVersion"),
    ],
)
def test_a_stable_api_version_is_required(acs: EmulatorClient, query: str, code: str) -> None:
    """A missing version has another error than a preview version or an unknown one."""
    assert acs.signed("POST", f"/identities{query}").error[:2] == (400, code)


@pytest.mark.parametrize("version", contract.VERSIONS)
def test_every_stable_version_has_the_basic_operations(acs: EmulatorClient, version: str) -> None:
    """Create, issue, revoke and delete work in every stable version."""
    query = f"?api-version={version}"
    created = acs.signed("POST", f"/identities{query}", {"createTokenWithScopes": ["chat", "voip"]})
    identity_id = created.document["identity"]["id"]
    path = f"/identities/{identity_id}"

    assert acs.issue(identity_id, version=version).status == 200
    assert acs.signed("POST", f"{path}/:revokeAccessTokens{query}").status == 204
    assert acs.signed("DELETE", f"{path}{query}").status == 204


@pytest.mark.parametrize("scope", contract.JOIN_SCOPES)
def test_join_scopes_exist_since_2023_10_01(scope: str) -> None:
    """Version 2023-10-01 added chat.join, chat.join.limited and voip.join."""
    body = b'{"scopes":["' + scope.encode() + b'"]}'

    assert contract.parse_issue(body, VERSION).scopes == (scope,)
    with pytest.raises(ServiceError, match=f"Invalid scopes - {scope}"):
        contract.parse_issue(body, "2022-10-01")


def test_the_teams_exchange_exists_since_2022_06_01() -> None:
    """The oldest stable version has no exchange."""
    assert contract.check_version("2022-06-01", Operation.EXCHANGE) == "2022-06-01"
    with pytest.raises(ServiceError, match="UnsupportedApiVersion"):
        contract.check_version("2021-03-07", Operation.EXCHANGE)


def test_a_repeated_scope_counts_once() -> None:
    """Scopes keep the order of their first occurrence."""
    request = contract.parse_issue(b'{"scopes":["voip","chat","voip"]}', VERSION)

    assert request.scopes == ("voip", "chat")


@settings(max_examples=50)
@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(repr).map(str.encode))
def test_parsing_raises_no_other_error(body: bytes) -> None:
    """Every body is parsed or refused with a ServiceError."""
    with suppress(ServiceError):
        contract.parse_create(body, VERSION)
    with suppress(ServiceError):
        contract.parse_issue(body, VERSION)
    with suppress(ServiceError):
        contract.parse_exchange(body)
