"""Teams Phone access: assignments, and the exchange of an assigned user's own token."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from local.acs import contract
from local.entra import ACS_AUDIENCE, STORAGE_AUDIENCE, TEAMS_AUDIENCE, Issuer
from tests.local.acs.conftest import Clock
from tests.local.acs.support import EmulatorClient, Response

VERSION = "2025-06-30"
VERSIONS = ["2025-06-30", "2026-07-22", "2026-09-23"]
OBJECT, OTHER = str(uuid4()), str(uuid4())
DENIED = (401, "Denied", "Denied by the resource provider.", None)
NOT_ASSIGNED = (403, "Forbidden", "The user may not use the resource with this application.", None)
NOT_FOUND = (404, "AssignmentNotFound", "Provided assignment doesn't exist.", None)
RESOURCE_ACCOUNT = {"principalType": "teamsResourceAccount"}


def path(tenant_id: str, object_id: str, version: str = VERSION) -> str:
    """The target of a request about an assignment."""
    path = f"/access/teamsExtension/tenants/{tenant_id}/assignments/{object_id}"
    return f"{path}?api-version={version}"


def target(acs: EmulatorClient, object_id: str = OBJECT, version: str = VERSION) -> str:
    """The target for an object of the emulator's tenant."""
    return path(acs.issuer.tenant, object_id, version)


def user_body(*client_ids: str) -> dict[str, object]:
    """The body that assigns a user."""
    return {"principalType": "user", "clientIds": client_ids}


def exchange(
    acs: EmulatorClient, token: str, version: str = VERSION, body: bytes = b"{}"
) -> Response:
    """Exchange an Entra token, as a client SDK does."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    target = f"/access/teamsExtension/:exchangeAccessToken?api-version={version}"
    return acs.send("POST", target, headers, body)


def assigned_user(acs: EmulatorClient) -> Any:
    """A user who is assigned, with a token."""
    user = acs.control("POST", "/teams-user", {"userId": OBJECT}).document
    put = acs.signed("PUT", path(user["tenantId"], user["userId"]), user_body(user["appId"]))
    assert put.status == 201
    return user


# Assignments


@pytest.mark.parametrize("version", VERSIONS)
def test_an_assignment_is_created_replaced_read_and_deleted(
    acs: EmulatorClient, version: str
) -> None:
    """Creating is 201, replacing is 200, and the responses have what was requested last."""
    address = target(acs, version=version)
    ids = {"objectId": OBJECT, "tenantId": acs.issuer.tenant}

    created = acs.signed("PUT", address, user_body(OTHER))
    replaced = acs.signed("PUT", address, RESOURCE_ACCOUNT)
    read = acs.signed("GET", address)
    deleted = acs.signed("DELETE", address)

    assert (created.status, created.document) == (201, {**ids, **user_body(), "clientIds": [OTHER]})
    assert (replaced.status, replaced.document) == (200, {**ids, **RESOURCE_ACCOUNT})
    assert (read.status, read.document) == (200, replaced.document)
    assert (deleted.status, deleted.content) == (204, b"")
    assert acs.signed("GET", address).error == NOT_FOUND
    assert acs.signed("DELETE", address).error == NOT_FOUND


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_an_entra_token_for_the_service_is_accepted(acs: EmulatorClient, method: str) -> None:
    """A managed identity may do what an access key may do. A token for storage may not."""
    acs.signed("PUT", target(acs), RESOURCE_ACCOUNT)
    body = b'{"principalType":"resourceAccount"}' if method == "PUT" else b""

    def send(audience: str) -> Response:
        authorization = f"Bearer {acs.issuer.sign(audience, 60)}"
        return acs.send(method, target(acs), {"Authorization": authorization}, body)

    assert send(STORAGE_AUDIENCE).error == DENIED
    assert send(ACS_AUDIENCE).status in (200, 204)


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_wrong_credentials_are_denied(acs: EmulatorClient, method: str) -> None:
    """An assigned user's own token does not change assignments either."""
    user = assigned_user(acs)
    tokens = {"user's": user["token"], "of another tenant": Issuer().sign(ACS_AUDIENCE, 60)}

    errors = {
        name: acs.send(method, target(acs), {"Authorization": f"Bearer {token}"}, b"{}").error
        for name, token in tokens.items()
    }

    assert errors == dict.fromkeys(tokens, DENIED)
    assert acs.signed("GET", target(acs)).status == 200


def test_ids_are_case_insensitive(acs: EmulatorClient) -> None:
    """Responses have them in lower case."""
    upper = path(acs.issuer.tenant.upper(), OBJECT.upper())

    created = acs.signed("PUT", upper, user_body(OTHER.upper(), OTHER))

    assert created.document == {**acs.signed("GET", target(acs)).document, "clientIds": [OTHER]}


def test_the_same_object_in_another_tenant_is_another_one(acs: EmulatorClient) -> None:
    """An assignment is named by both ids."""
    acs.signed("PUT", target(acs), RESOURCE_ACCOUNT)

    assert acs.signed("GET", path(OTHER, OBJECT)).error == NOT_FOUND


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
@pytest.mark.parametrize("field", ["tenantId", "objectId"])
def test_an_id_that_is_no_guid_is_refused(acs: EmulatorClient, field: str, method: str) -> None:
    """The error names the id."""
    ids = {"tenantId": OTHER, "objectId": OTHER, field: "garbage"}
    body = RESOURCE_ACCOUNT if method == "PUT" else None

    response = acs.signed(method, path(ids["tenantId"], ids["objectId"]), body)

    message = f"Provided {field[0].upper()}{field[1:]} has invalid format."
    assert response.error == (400, "ValidationError", message, field)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"clientIds": [OTHER]}, "PrincipalType"),
        ({"principalType": None}, "PrincipalType"),
        ({"principalType": "group"}, "principalType"),
        ({"principalType": "User", "clientIds": [OTHER]}, "principalType"),
        ({"principalType": "user"}, "ClientIds"),
        ({"principalType": "user", "clientIds": []}, "ClientIds"),
        ({"principalType": "user", "clientIds": [""]}, "ClientIds"),
        ({"principalType": "user", "clientIds": ["garbage"]}, "clientIds"),
        ({**RESOURCE_ACCOUNT, "clientIds": ["garbage"]}, "clientIds"),
    ],
)
def test_an_invalid_assignment_is_refused(
    acs: EmulatorClient, body: dict[str, object], field: str
) -> None:
    """Nothing is assigned, and the error names the field."""
    status, code, _, named = acs.signed("PUT", target(acs), body).error

    assert (status, code, named) == (400, "ValidationError", field)
    assert acs.signed("GET", target(acs)).error == NOT_FOUND


@pytest.mark.parametrize("body", [b"[]", b"null", b"{", b'{"principalType":7}', b"\xff"])
def test_a_malformed_body_is_refused(acs: EmulatorClient, body: bytes) -> None:
    """It is not JSON, or not of the right shape."""
    assert acs.signed("PUT", target(acs), body).error[:2] == (400, "ValidationError")


def test_versions_before_2025_06_30_have_no_assignments(acs: EmulatorClient) -> None:
    """Nor do they have the exchange. Previews are not emulated."""
    versions = [version for version in contract.VERSIONS if version not in VERSIONS]
    responses = [
        response
        for version in (*versions, "2025-03-02-preview")
        for response in (
            acs.signed("PUT", target(acs, version=version), RESOURCE_ACCOUNT),
            acs.signed("GET", target(acs, version=version)),
            acs.signed("DELETE", target(acs, version=version)),
            exchange(acs, assigned_user_token(acs), version),
        )
    ]

    assert {response.error[1] for response in responses} == {"UnsupportedApiVersion"}
    supported = {response.headers["api-supported-versions"] for response in responses}
    assert supported == {", ".join(VERSIONS)}


def assigned_user_token(acs: EmulatorClient) -> str:
    """An Entra token of a user."""
    return str(acs.control("POST", "/teams-user", {"userId": OBJECT}).document["token"])


def test_assignments_share_a_quota(acs: EmulatorClient) -> None:
    """Reading counts as well. An exchange counts as the exchange of a Teams user's token."""
    user = assigned_user(acs)
    acs.control("PUT", "/quotas", {"limits": {"assignment": 1, "exchange": 1}})

    statuses = [acs.signed(method, target(acs)).status for method in ("GET", "DELETE")]
    statuses += [exchange(acs, user["token"]).status for _ in range(2)]

    assert statuses == [200, 429, 200, 429]


def test_assignments_are_shown(acs: EmulatorClient) -> None:
    """The control endpoint lists them with their live tokens, and a reset removes them."""
    user = assigned_user(acs)
    exchange(acs, user["token"])

    shown = acs.control("GET", "/assignments").document["assignments"]
    acs.control("POST", "/reset")

    assert shown == [
        {
            "objectId": OBJECT,
            "tenantId": user["tenantId"],
            "principalType": "user",
            "clientIds": [user["appId"]],
            "tokensAlive": 1,
        }
    ]
    assert acs.control("GET", "/assignments").document == {"assignments": []}


@pytest.mark.parametrize("operation", ["putAssignment", "getAssignment", "deleteAssignment"])
def test_a_fault_affects_one_kind_of_request(acs: EmulatorClient, operation: str) -> None:
    """Each kind is an operation of its own, for faults and for counts."""
    acs.add_fault(kind="status", status=503, operation=operation)

    acs.signed("PUT", target(acs), RESOURCE_ACCOUNT)
    acs.signed("GET", target(acs))
    acs.signed("DELETE", target(acs))

    assert acs.counts(operation) == (1, 0)
    assert acs.control("GET", "/faults").document["faults"][0]["affected"] == 1


# The exchange


@pytest.mark.parametrize("version", VERSIONS)
def test_an_assigned_user_exchanges_a_token(acs: EmulatorClient, version: str) -> None:
    """The access token has the user's id in this resource, and expires with the Entra token."""
    user = assigned_user(acs)

    response = exchange(acs, user["token"], version)

    identity_id = f"8:acs:{acs.emulator.resource_id}_{user['tenantId']}_{OBJECT}"
    verified = acs.verify(response.document["accessToken"]["token"])
    assert (response.status, response.document["identity"]) == (200, {"id": identity_id})
    assert verified["valid"]
    assert f"8:{verified['claims']['skypeid']}" == identity_id
    assert verified["claims"]["exp"] == acs.issuer.verify(user["token"], TEAMS_AUDIENCE)["exp"]


REFUSED: dict[str, Callable[[EmulatorClient, Any], object]] = {
    "never assigned": lambda acs, _: acs.control("POST", "/reset"),
    "no longer assigned": lambda acs, _: acs.signed("DELETE", target(acs)),
    "assigned with another application": lambda acs, _: acs.signed(
        "PUT", target(acs), user_body(OTHER)
    ),
    "assigned without an application": lambda acs, _: acs.signed(
        "PUT", target(acs), RESOURCE_ACCOUNT
    ),
    "assigned in another tenant": lambda acs, user: (
        acs.signed("DELETE", target(acs)),
        acs.signed("PUT", path(OTHER, OBJECT), user_body(user["appId"])),
    ),
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_a_user_without_an_assignment_is_refused(
    acs: EmulatorClient, change: Callable[[EmulatorClient, Any], object]
) -> None:
    """The Entra token is valid, but not assigned with its application."""
    user = assigned_user(acs)
    change(acs, user)

    assert exchange(acs, user["token"]).error == NOT_ASSIGNED


def test_an_invalid_token_is_denied(acs: EmulatorClient) -> None:
    """It is expired, for another audience or tenant, or has no user or not the permission."""
    claims = {"appid": assigned_user(acs)["appId"], "oid": OBJECT}
    permitted = {**claims, "scp": "TeamsExtension.ManageCalls"}
    sign = acs.issuer.sign
    tokens = {
        "garbage": "a.b.c",
        "expired": sign(TEAMS_AUDIENCE, -1, **permitted),
        "for the service": sign(ACS_AUDIENCE, 60, **permitted),
        "of another tenant": Issuer().sign(TEAMS_AUDIENCE, 60, **permitted),
        "without a user": sign(TEAMS_AUDIENCE, 60, **{**permitted, "oid": None}),
        "without a permission": sign(TEAMS_AUDIENCE, 60, **claims),
        "for Teams users": sign(TEAMS_AUDIENCE, 60, **claims, scp="Teams.ManageCalls"),
    }

    errors = {name: exchange(acs, token).error for name, token in tokens.items()}

    assert errors == dict.fromkeys(tokens, DENIED)
    assert exchange(acs, sign(TEAMS_AUDIENCE, 60, **permitted)).status == 200


def test_the_body_of_an_exchange_is_an_object(acs: EmulatorClient) -> None:
    """It has no fields."""
    response = exchange(acs, assigned_user(acs)["token"], body=b"[]")

    assert response.error[:2] == (400, "ValidationError")


def test_an_access_key_cannot_exchange(acs: EmulatorClient) -> None:
    """Only the user itself can."""
    target = f"/access/teamsExtension/:exchangeAccessToken?api-version={VERSION}"

    assert acs.signed("POST", target, {}).error == DENIED


def test_deleting_the_assignment_revokes_its_tokens(acs: EmulatorClient) -> None:
    """They stay revoked if the user is assigned again. A new token is valid."""
    user = assigned_user(acs)
    old = exchange(acs, user["token"]).document["accessToken"]["token"]

    acs.signed("DELETE", target(acs))
    revoked = acs.verify(old)["reason"]
    assigned_user(acs)
    new = exchange(acs, user["token"]).document["accessToken"]["token"]

    assert (revoked, acs.verify(old)["reason"], acs.verify(new)["reason"]) == (
        "revoked",
        "revoked",
        None,
    )


def test_replacing_the_assignment_revokes_nothing(acs: EmulatorClient) -> None:
    """Not even if the application of a token is no longer assigned."""
    token = exchange(acs, assigned_user(acs)["token"]).document["accessToken"]["token"]

    replaced = acs.signed("PUT", target(acs), user_body(OTHER))

    assert (replaced.status, acs.verify(token)["valid"]) == (200, True)


def test_a_reset_forgets_tokens(acs: EmulatorClient) -> None:
    """They are unknown then, like those of identities."""
    token = exchange(acs, assigned_user(acs)["token"]).document["accessToken"]["token"]

    acs.control("POST", "/reset")

    assert acs.verify(token)["reason"] == "unknown"


def test_an_expired_token_is_not_alive(acs: EmulatorClient, clock: Clock) -> None:
    """It expires with the Entra token."""
    token = exchange(acs, assigned_user(acs)["token"]).document["accessToken"]["token"]
    clock.offset = 24 * 60 * 60

    shown = acs.control("GET", "/assignments").document["assignments"]
    assert (acs.verify(token)["reason"], shown[0]["tokensAlive"]) == ("expired", 0)


def test_the_user_is_no_identity_of_the_resource(acs: EmulatorClient) -> None:
    """Identities have other operations, and no identity is created."""
    exchanged = exchange(acs, assigned_user(acs)["token"]).document
    identity_id = exchanged["identity"]["id"]

    assert acs.revoke(identity_id).error[1] == "IdentityNotOwned"
    assert acs.delete(identity_id).error[1] == "IdentityNotOwned"
    assert acs.control("GET", "/identities").document["identities"] == []
