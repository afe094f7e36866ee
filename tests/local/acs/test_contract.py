"""Validation of requests: api-versions, bodies and identity ids."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.acs import contract
from local.acs.contract import Operation
from local.acs.errors import ServiceError
from tests.local.acs.support import CREATE, EmulatorClient

VALIDATION = (400, "ValidationError")
NOT_OWNED = (401, "IdentityNotOwned", "Provided identity doesn't belong to the resource.", None)
UNKNOWN_ID = "8:acs:00000000-0000-0000-0000-000000000000_00000000-0000-0000-0000-000000000000"
DAY = 24 * 60 * 60


@pytest.mark.parametrize("minutes", [0, -1, 59, 1441])
def test_a_lifetime_out_of_range_is_refused(acs: EmulatorClient, minutes: int) -> None:
    """A lifetime must be within 60 to 1440 minutes."""
    response = acs.issue(acs.create(), {"scopes": ["voip"], "expiresInMinutes": minutes})

    message = (
        f"ExpiresInMinutes value {minutes} is invalid. "
        "Value must be within the [60, 1440] interval."
    )
    assert response.error == (*VALIDATION, message, "ExpiresInMinutes")


def test_creating_checks_the_lifetime(acs: EmulatorClient) -> None:
    """No identity is created if the lifetime of its token is invalid."""
    body = {"createTokenWithScopes": ["voip"], "expiresInMinutes": 59}

    response = acs.signed("POST", CREATE, body)

    assert response.status == 400
    assert acs.counts("create") == (1, 0)


@pytest.mark.parametrize("body", [{"scopes": None}, {"expiresInMinutes": 60}, b""])
def test_issuing_needs_the_field_scopes(acs: EmulatorClient, body: object) -> None:
    """Null and absent scopes are refused with the same error."""
    response = acs.issue(acs.create(), body)

    assert response.error == (*VALIDATION, "Scopes: The Scopes field is required.", "Scopes")


def test_issuing_needs_a_scope(acs: EmulatorClient) -> None:
    """Empty scopes are refused with another message and target than absent ones."""
    response = acs.issue(acs.create(), {"scopes": []})

    assert response.error == (*VALIDATION, "Invalid scopes - Scopes field is required.", "scopes")


@pytest.mark.parametrize("scope", ["VOIP", "", "everything"])
def test_an_unknown_scope_is_refused(acs: EmulatorClient, scope: str) -> None:
    """Scopes are case-sensitive."""
    response = acs.issue(acs.create(), {"scopes": ["chat", scope]})

    assert response.error[:2] == VALIDATION


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
    response = acs.issue(acs.create(), {"scopes": ["voip"], "expiresInMinutes": None})

    claims = acs.verify(response.document["token"])["claims"]
    assert claims["exp"] - claims["iat"] == DAY


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b"{",
        b'{"scopes":"voip"}',
        b'{"scopes":[1]}',
        b'{"scopes":["\xff"]}',
        b'{"scopes":["voip"],"expiresInMinutes":"60"}',
        b'{"scopes":["voip"],"expiresInMinutes":60.5}',
        b'{"scopes":["voip"],"expiresInMinutes":true}',
    ],
)
def test_a_body_of_another_shape_is_refused(acs: EmulatorClient, body: bytes) -> None:
    """A body that is not JSON, or has a field of the wrong type, is a validation error."""
    response = acs.issue(acs.create(), body)

    assert response.error[:2] == VALIDATION


@pytest.mark.parametrize(
    "identity_id",
    [UNKNOWN_ID, "8%3Aacs%3Aunknown", "a%2Fb", "%F0%9F%98%80", "x" * 5000],
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

    not_found = (404, "IdentityNotFound", "Provided identity doesn't exist.", None)
    assert acs.issue(identity_id).error == not_found
    assert acs.revoke(identity_id).error == not_found
    assert acs.delete(identity_id).error == not_found


def test_an_id_may_be_percent_encoded(acs: EmulatorClient) -> None:
    """Python's sync client encodes the colons, its async client does not."""
    identity_id = acs.create()

    assert acs.issue(identity_id).status == 200
    assert acs.issue(identity_id.replace(":", "%3A")).status == 200


def test_the_api_version_is_required(acs: EmulatorClient) -> None:
    """A request without an api-version is refused."""
    response = acs.signed("POST", "/identities")

    assert response.error[:2] == (400, "ApiVersionUnspecified")


def test_an_unknown_api_version_is_refused(acs: EmulatorClient) -> None:
    """Preview versions are not supported."""
    response = acs.signed("POST", "/identities?api-version=2025-03-02-preview")

    assert response.error[:2] == (400, "UnsupportedApiVersion")


@pytest.mark.parametrize("version", contract.VERSIONS)
def test_every_stable_version_has_the_basic_operations(acs: EmulatorClient, version: str) -> None:
    """Create, issue, revoke and delete work in every stable version."""
    created = acs.signed(
        "POST", f"/identities?api-version={version}", {"createTokenWithScopes": ["chat", "voip"]}
    )
    identity_id = created.document["identity"]["id"]
    path = f"/identities/{identity_id}"

    assert acs.issue(identity_id, version=version).status == 200
    assert acs.signed("POST", f"{path}/:revokeAccessTokens?api-version={version}").status == 204
    assert acs.signed("DELETE", f"{path}?api-version={version}").status == 204


@pytest.mark.parametrize("version", ["2021-03-07", "2022-06-01"])
@pytest.mark.parametrize("minutes", [60, 59, "sixty"])
def test_versions_before_2022_10_01_ignore_the_lifetime(
    acs: EmulatorClient, version: str, minutes: object
) -> None:
    """The field is unknown there: any value is accepted, and the token is valid for a day."""
    body = {"scopes": ["voip"], "expiresInMinutes": minutes}

    response = acs.issue(acs.create(), body, version=version)

    claims = acs.verify(response.document["token"])["claims"]
    assert claims["exp"] - claims["iat"] == DAY


@pytest.mark.parametrize("scope", contract.JOIN_SCOPES)
def test_join_scopes_exist_since_2023_10_01(scope: str) -> None:
    """Version 2023-10-01 added chat.join, chat.join.limited and voip.join."""
    body = b'{"scopes":["' + scope.encode() + b'"]}'

    assert contract.parse_issue(body, "2023-10-01").scopes == (scope,)
    with pytest.raises(ServiceError, match=f"Invalid scopes - {scope}"):
        contract.parse_issue(body, "2022-10-01")


def test_the_teams_exchange_exists_since_2022_06_01() -> None:
    """The oldest stable version has no exchange."""
    assert contract.check_version("2022-06-01", Operation.EXCHANGE) == "2022-06-01"
    with pytest.raises(ServiceError, match="UnsupportedApiVersion"):
        contract.check_version("2021-03-07", Operation.EXCHANGE)


def test_a_repeated_scope_counts_once() -> None:
    """Scopes keep the order of their first occurrence."""
    request = contract.parse_issue(b'{"scopes":["voip","chat","voip"]}', "2023-10-01")

    assert request.scopes == ("voip", "chat")


@settings(max_examples=50)
@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(repr).map(str.encode))
def test_parsing_raises_no_other_error(body: bytes) -> None:
    """Every body is parsed or refused with a ServiceError."""
    with suppress(ServiceError):
        contract.parse_create(body, "2023-10-01")
    with suppress(ServiceError):
        contract.parse_issue(body, "2023-10-01")
    with suppress(ServiceError):
        contract.parse_exchange(body)
