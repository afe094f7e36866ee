"""openapi.json keeps what the last release promised: docs/api.md, "What stays compatible".

tests/contract/released.json is the document of the last release. A release renews it:
`cp openapi.json tests/contract/released.json`.
"""

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from identity_service.operations.status import DOCUMENT
from tools.openapi.compatibility import breaking_changes
from tools.openapi.document import ROOT

RELEASED = json.loads((ROOT / "tests" / "contract" / "released.json").read_text("utf-8"))
TOKENS = "/identities/{id}/tokens"
FIELD = {"type": "string"}


def test_the_api_is_compatible() -> None:
    """No client of the last release breaks."""
    assert breaking_changes(RELEASED, json.loads(DOCUMENT.read_text("utf-8"))) == []


def changed(change: Callable[[Any, Any], object]) -> Any:
    """The released document after a change of its paths or its schemas."""
    document = deepcopy(RELEASED)
    change(document["paths"], document["components"]["schemas"])
    return document


BREAKING: list[tuple[str, Callable[[Any, Any], object]]] = [
    ("DELETE /me: removed", lambda paths, _: paths.pop("/me")),
    (f"DELETE {TOKENS}: removed", lambda paths, _: paths[TOKENS].pop("delete")),
    (
        f"POST {TOKENS}: renamed to create_token",
        lambda paths, _: paths[TOKENS]["post"].update(operationId="create_token"),
    ),
    (
        f"POST {TOKENS}: functionKey is not enough any more",
        lambda paths, _: paths[TOKENS]["post"]["security"].pop(0),
    ),
    (
        f"POST {TOKENS}: appRoles is not enough any more",
        lambda paths, _: paths[TOKENS]["post"]["security"][2]["appRoles"].append("Tokens.Other"),
    ),
    (
        "GET /health: no credential is not enough any more",
        lambda paths, _: paths["/health"]["get"].update(security=[{"signIn": []}]),
    ),
    (
        "GET /identities: parameter state removed",
        lambda paths, _: paths["/identities"]["get"]["parameters"].pop(3),
    ),
    (
        "GET /identities: parameter userId required",
        lambda paths, _: paths["/identities"]["get"]["parameters"][2].update(required=True),
    ),
    (
        "GET /identities: parameter since required",
        lambda paths, _: paths["/identities"]["get"]["parameters"].append(
            {"name": "since", "in": "query", "required": True, "schema": FIELD}
        ),
    ),
    (
        "GET /identities: parameter state: value any removed",
        lambda paths, _: paths["/identities"]["get"]["parameters"][3]["schema"]["enum"].remove(
            "any"
        ),
    ),
    (
        "GET /identities: parameter maxPageSize: maximum narrowed",
        lambda paths, _: paths["/identities"]["get"]["parameters"][1]["schema"].update(maximum=50),
    ),
    (
        "POST /identities: body required",
        lambda paths, _: paths["/identities"]["post"]["requestBody"].update(required=True),
    ),
    (
        "POST /identities: body: field userId removed",
        lambda _, schemas: schemas["CreateIdentity"]["properties"].pop("userId"),
    ),
    (
        "POST /identities: body: field userId required",
        lambda _, schemas: schemas["CreateIdentity"]["required"].append("userId"),
    ),
    (
        "POST /identities: body.userId: type null removed",
        lambda _, schemas: schemas["CreateIdentity"]["properties"]["userId"].update(type="string"),
    ),
    (
        "POST /identities: body.userId: pattern changed",
        lambda _, schemas: schemas["CreateIdentity"]["properties"]["userId"].update(pattern="^a"),
    ),
    (
        f"POST {TOKENS}: body.expiresInMinutes: minimum narrowed",
        lambda _, schemas: schemas["IssueToken"]["properties"]["expiresInMinutes"].update(
            minimum=61
        ),
    ),
    (
        f"POST {TOKENS}: body.scopes[]: value chat removed",
        lambda _, schemas: schemas["IssueToken"]["properties"]["scopes"]["items"]["enum"].remove(
            "chat"
        ),
    ),
    (
        f"POST {TOKENS}: 200: field refreshAfter removed",
        lambda _, schemas: schemas["IssuedToken"]["properties"].pop("refreshAfter"),
    ),
    (
        f"POST {TOKENS}: 200: field token is not always sent any more",
        lambda _, schemas: schemas["IssuedToken"]["required"].remove("token"),
    ),
    (
        f"POST {TOKENS}: 200.expiresOn: type integer added",
        lambda _, schemas: schemas["IssuedToken"]["properties"]["expiresOn"].update(type="integer"),
    ),
    (
        "GET /identities: 200.value[].state: value suspended removed",
        lambda _, schemas: schemas["State"]["enum"].remove("suspended"),
    ),
    (
        f"POST {TOKENS}: status 409 removed",
        lambda paths, _: paths[TOKENS]["post"]["responses"].pop("409"),
    ),
    (
        f"POST {TOKENS}: status 202 added to the successes",
        lambda paths, _: paths[TOKENS]["post"]["responses"].update({"202": {}}),
    ),
    (
        f"POST {TOKENS}: 409: code identity_suspended removed",
        lambda paths, _: paths[TOKENS]["post"]["responses"]["409"]["content"][
            "application/problem+json"
        ]["schema"]["oneOf"].remove({"$ref": "#/components/schemas/IdentitySuspended"}),
    ),
    (
        "POST /identities: 201: header Location removed",
        lambda paths, _: paths["/identities"]["post"]["responses"]["201"]["headers"].pop(
            "Location"
        ),
    ),
    (
        f"POST {TOKENS}: 429: field detail removed",
        lambda _, schemas: schemas["Problem"]["properties"].pop("detail"),
    ),
]


@pytest.mark.parametrize(("message", "change"), BREAKING, ids=[each for each, _ in BREAKING])
def test_a_breaking_change_is_found(message: str, change: Callable[[Any, Any], object]) -> None:
    """A change that docs/api.md rules out is reported with the operation and the place."""
    assert message in breaking_changes(RELEASED, changed(change))


COMPATIBLE: dict[str, Callable[[Any, Any], object]] = {
    "operation": lambda paths, _: paths.update({"/new": paths["/health"]}),
    "optional parameter": lambda paths, _: paths["/identities"]["get"]["parameters"].append(
        {"name": "since", "in": "query", "schema": FIELD}
    ),
    "optional field of a request": lambda _, schemas: schemas["IssueToken"]["properties"].update(
        note=FIELD
    ),
    "wider limit": lambda _, schemas: schemas["IssueToken"]["properties"][
        "expiresInMinutes"
    ].update(minimum=5),
    "value in a request": lambda _, schemas: schemas["IssueToken"]["properties"]["scopes"]["items"][
        "enum"
    ].append("chat.other"),
    "field of a response": lambda _, schemas: schemas["IssuedToken"]["properties"].update(
        note=FIELD
    ),
    "state": lambda _, schemas: schemas["State"]["enum"].append("archived"),
    "problem code": lambda paths, _: paths[TOKENS]["post"]["responses"]["409"]["content"][
        "application/problem+json"
    ]["schema"]["oneOf"].append({"$ref": "#/components/schemas/UserMismatch"}),
    "status of an error": lambda paths, _: paths[TOKENS]["post"]["responses"].update({"418": {}}),
    "credential": lambda paths, _: paths[TOKENS]["post"]["security"].append({"other": []}),
    "wording": lambda paths, _: paths[TOKENS]["post"].update(description="Other words."),
}


@pytest.mark.parametrize("change", COMPATIBLE.values(), ids=COMPATIBLE)
def test_an_addition_is_compatible(change: Callable[[Any, Any], object]) -> None:
    """What docs/api.md allows is not reported."""
    assert breaking_changes(RELEASED, changed(change)) == []
