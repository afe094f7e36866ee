"""The case table of the contract, asked over the wire as no SDK would ask."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.acs import contract
from local.acs.errors import RefusedError
from local.acs.messages import Operation
from tests.local.acs.served import VERSION, Served

VALIDATION = (400, "ValidationError")
NOT_OWNED = (401, "IdentityNotOwned", "Provided identity doesn't belong to the resource.", None)
STRANGER = "8:acs:00000000-0000-0000-0000-000000000000_00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("minutes", [0, -1, 59, 1441])
def test_a_lifetime_outside_of_an_hour_to_a_day_is_refused(acs: Served, minutes: int) -> None:
    """A lifetime must be within 60 to 1440 minutes."""
    reply = acs.issue(acs.create(), {"scopes": ["voip"], "expiresInMinutes": minutes})

    message = (
        f"ExpiresInMinutes value {minutes} is invalid. "
        "Value must be within the [60, 1440] interval."
    )
    assert reply.error == (*VALIDATION, message, "ExpiresInMinutes")


def test_a_lifetime_is_checked_when_creating_too(acs: Served) -> None:
    """No identity is made where its token's lifetime is wrong."""
    body = {"createTokenWithScopes": ["voip"], "expiresInMinutes": 59}

    reply = acs.signed("POST", f"/identities?{VERSION}", body)

    assert reply.status == 400
    assert acs.counts("create") == (1, 0)


@pytest.mark.parametrize("body", [{"scopes": None}, {"expiresInMinutes": 60}, b""])
def test_issuing_needs_the_field_scopes(acs: Served, body: object) -> None:
    """Null and absent scopes are refused in the same words."""
    target = f"/identities/{acs.create()}/:issueAccessToken?{VERSION}"

    reply = acs.signed("POST", target, body)

    assert reply.error == (*VALIDATION, "Scopes: The Scopes field is required.", "Scopes")


def test_issuing_needs_a_scope(acs: Served) -> None:
    """Empty scopes are refused in other words, with another target, than absent ones."""
    reply = acs.issue(acs.create(), {"scopes": []})

    assert reply.error == (*VALIDATION, "Invalid scopes - Scopes field is required.", "scopes")


@pytest.mark.parametrize("scope", ["VOIP", "", "everything"])
def test_an_unknown_scope_is_refused(acs: Served, scope: str) -> None:
    """Scopes are known by their exact names."""
    reply = acs.issue(acs.create(), {"scopes": ["chat", scope]})

    assert reply.error[:2] == VALIDATION


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"createTokenWithScopes":null,"expiresInMinutes":null}',
        b'{"createTokenWithScopes":[]}',
    ],
)
def test_creating_without_scopes_makes_an_identity_only(acs: Served, body: bytes) -> None:
    """Older SDKs send nulls, newer ones nothing: both want no token."""
    reply = acs.signed("POST", f"/identities?{VERSION}", body)

    assert (reply.status, list(reply.document)) == (201, ["identity"])


def test_a_null_lifetime_is_a_day(acs: Served) -> None:
    """Null counts as absent."""
    reply = acs.issue(acs.create(), {"scopes": ["voip"], "expiresInMinutes": None})

    claims = acs.verify(reply.document["token"])["claims"]
    assert claims["exp"] - claims["iat"] == 24 * 60 * 60


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
def test_a_body_of_another_shape_is_refused(acs: Served, body: bytes) -> None:
    """What is not the JSON that the contract wants is a validation error."""
    target = f"/identities/{acs.create()}/:issueAccessToken?{VERSION}"

    reply = acs.signed("POST", target, body)

    assert reply.error[:2] == VALIDATION


@pytest.mark.parametrize(
    "identity_id",
    [STRANGER, "8%3Aacs%3Aunknown", "a%2Fb", "%F0%9F%98%80", "x" * 5000],
)
def test_an_identity_that_was_never_made_here_is_not_owned(acs: Served, identity_id: str) -> None:
    """The service does not say 404 for strangers: it says 401."""
    assert acs.issue(identity_id).error == NOT_OWNED
    assert acs.revoke(identity_id).error == NOT_OWNED
    assert acs.delete(identity_id).error == NOT_OWNED


def test_an_identity_in_upper_case_is_not_owned(acs: Served) -> None:
    """Ids are compared letter by letter."""
    assert acs.delete(acs.create().upper()).error == NOT_OWNED


def test_a_deleted_identity_does_not_exist(acs: Served) -> None:
    """Whatever is asked of a deleted identity, it does not exist."""
    identity_id = acs.create()
    acs.delete(identity_id)

    gone = (404, "IdentityNotFound", "Provided identity doesn't exist.", None)
    assert acs.issue(identity_id).error == gone
    assert acs.revoke(identity_id).error == gone
    assert acs.delete(identity_id).error == gone


def test_an_encoded_id_and_a_bare_one_are_the_same(acs: Served) -> None:
    """Python's sync client percent-encodes the colons, its async one does not."""
    identity_id = acs.create()

    assert acs.issue(identity_id).status == 200
    assert acs.issue(identity_id.replace(":", "%3A")).status == 200


def test_the_api_version_is_required(acs: Served) -> None:
    """Without an api-version nothing is done."""
    reply = acs.signed("POST", "/identities")

    assert reply.error[:2] == (400, "ApiVersionUnspecified")


def test_an_unknown_api_version_is_refused(acs: Served) -> None:
    """Only the stable versions are known."""
    reply = acs.signed("POST", "/identities?api-version=2025-03-02-preview")

    assert reply.error[:2] == (400, "UnsupportedApiVersion")


@pytest.mark.parametrize("version", contract.VERSIONS)
def test_every_stable_version_issues_tokens(acs: Served, version: str) -> None:
    """Create, issue, revoke and delete are in every stable version."""
    created = acs.signed(
        "POST", f"/identities?api-version={version}", {"createTokenWithScopes": ["chat", "voip"]}
    )
    path = f"/identities/{created.document['identity']['id']}"

    issue = f"{path}/:issueAccessToken?api-version={version}"
    assert acs.signed("POST", issue, {"scopes": ["chat"]}).status == 200
    assert acs.signed("POST", f"{path}/:revokeAccessTokens?api-version={version}").status == 204
    assert acs.signed("DELETE", f"{path}?api-version={version}").status == 204


@pytest.mark.parametrize("version", ["2021-03-07", "2022-06-01"])
@pytest.mark.parametrize("minutes", [60, 59, "sixty"])
def test_versions_before_2022_10_01_ignore_the_lifetime(
    acs: Served, version: str, minutes: object
) -> None:
    """The field is unknown there: whatever it says, a token lives a day."""
    target = f"/identities/{acs.create()}/:issueAccessToken?api-version={version}"

    reply = acs.signed("POST", target, {"scopes": ["voip"], "expiresInMinutes": minutes})

    claims = acs.verify(reply.document["token"])["claims"]
    assert claims["exp"] - claims["iat"] == 24 * 60 * 60


@pytest.mark.parametrize("scope", contract.JOIN_SCOPES)
def test_join_scopes_are_known_since_2023_10_01(scope: str) -> None:
    """chat.join, chat.join.limited and voip.join came together."""
    body = b'{"scopes":["' + scope.encode() + b'"]}'

    assert contract.parse_issue(body, "2023-10-01").scopes == (scope,)
    with pytest.raises(RefusedError, match=f"Invalid scopes - {scope}"):
        contract.parse_issue(body, "2022-10-01")


def test_the_teams_exchange_is_known_since_2022_06_01() -> None:
    """The oldest stable version has no exchange."""
    assert contract.check_version("2022-06-01", Operation.EXCHANGE) == "2022-06-01"
    with pytest.raises(RefusedError, match="UnsupportedApiVersion"):
        contract.check_version("2021-03-07", Operation.EXCHANGE)


def test_a_repeated_scope_counts_once() -> None:
    """Scopes keep the order in which they were first named."""
    wanted = contract.parse_issue(b'{"scopes":["voip","chat","voip"]}', "2023-10-01")

    assert wanted.scopes == ("voip", "chat")


def as_create(body: bytes) -> object:
    """Parse a body that should create."""
    return contract.parse_create(body, "2023-10-01")


def as_issue(body: bytes) -> object:
    """Parse a body that should issue."""
    return contract.parse_issue(body, "2023-10-01")


# A busy machine is slow, and that is no fault of the code.
@settings(deadline=None, max_examples=50)
@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(repr).map(str.encode))
def test_no_body_makes_the_parser_fail_but_by_refusing(body: bytes) -> None:
    """Whatever arrives is parsed, or refused as a caller's mistake."""
    for parse in (as_create, as_issue, contract.parse_exchange):
        # Anything but a refusal passes through, and fails the test.
        with suppress(RefusedError):
            parse(body)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/identities"),
        ("DELETE", "/identities/"),
        ("POST", "/"),
        ("OPTIONS", "/identities"),
    ],
)
def test_what_no_version_has_is_not_found(acs: Served, method: str, target: str) -> None:
    """Nothing can be listed, and nothing answers a preflight."""
    assert acs.signed(method, f"{target}?{VERSION}").status == 404
