"""The claims of docs/security.md that no other test proves, and the references in that page."""

import ast
import base64
import json
import re
from inspect import signature
from pathlib import Path

import pytest
from azure.functions import HttpRequest

from identity_service.azure.table_codec import encode_identity, encode_user
from identity_service.errors import NotAllowed, NotSignedIn, ServiceError, TooManyCalls
from identity_service.http.binding import BoundOperation, Operation
from identity_service.identity import Identity, SignedInUser, State
from identity_service.operations.me import issue_my_token
from identity_service.policies import TokenPolicy
from identity_service.schemas import IssueMyTokenRequest
from identity_service.services import Services
from tests.support.settings import MINIMAL
from tests.support.virtual_time import START
from tests.support.world import World
from tools.openapi.document import operations

ROOT = Path(__file__).parent.parent
REFERENCE = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
REFERENCES = sorted(set(REFERENCE.findall((ROOT / "docs" / "security.md").read_text("utf-8"))))
POLICY = TokenPolicy(("chat", "voip"), 60, 240)
OPERATIONS_FOR_USERS = [
    operation for operation in operations().values() if "caller" in signature(operation).parameters
]
ALICE = {"tid": "tenant", "oid": "alice"}
each_operation_for_users = pytest.mark.parametrize("operation", OPERATIONS_FOR_USERS)


async def call(operation: Operation, claims: dict[str, str], services: Services) -> None:
    """Call the operation with the principal that App Service Authentication would send."""
    listed = [{"typ": name, "val": value} for name, value in claims.items()]
    principal = json.dumps({"auth_typ": "aad", "claims": listed}).encode()
    headers = {"x-ms-client-principal": base64.b64encode(principal).decode()}
    await BoundOperation(operation, services).call(
        HttpRequest("GET", "/", headers=headers, body=b"")
    )


def services(**settings: str) -> Services:
    """Services with the platform's sign-in and these settings."""
    return Services({**MINIMAL, "WEBSITE_AUTH_ENABLED": "True", **settings})


@pytest.mark.parametrize(("path", "name"), REFERENCES, ids="::".join)
def test_referenced_test_exists(path: str, name: str) -> None:
    """A test that the page names exists in that file."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))

    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert name in {each.name for each in tree.body if isinstance(each, functions)}


def test_every_reference_is_checked() -> None:
    """No reference is written in a form that the test above does not recognise."""
    text = (ROOT / "docs" / "security.md").read_text("utf-8")

    assert text.count("::") == len(REFERENCE.findall(text)) > 0


def test_the_table_stores_no_token_and_no_key() -> None:
    """Rows have columns for ids, times and states only."""
    identity = Identity(
        id="8:acs:a_b",
        state=State.DELETED,
        user_id="alice",
        created_on=START,
        deleted_on=START,
        scheduled_purge_on=START,
        revoked=True,
        adopted=True,
        due=START,
        attempts=1,
        last_error="acs_unavailable",
    )

    stored = encode_identity(identity).keys() | encode_user("alice", "8:acs:a_b").keys()
    ids = {"PartitionKey", "RowKey", "state", "userId", "identityId"}
    times = {"createdOn", "deletedOn", "scheduledPurgeOn", "due"}
    assert stored == ids | times | {"revoked", "adopted", "attempts", "lastError"}


async def test_a_changed_user_row_does_not_count(world: World) -> None:
    """A user row that names another user's identity does not count: alice gets her own."""
    bobs = await world.active("bob")
    await world.registry.insert_user("alice", bobs)
    issued = await issue_my_token(
        SignedInUser("alice"), IssueMyTokenRequest(), world.lifecycle, POLICY
    )

    assert issued.id != bobs


async def test_changed_rows_decide_whose_token_is_issued(world: World) -> None:
    """The table is trusted: if both rows are changed, alice gets a token of bob's identity."""
    bobs = await world.active("bob")
    await world.registry.insert_user("alice", bobs)
    world.registry.change(bobs, user_id="alice")
    issued = await issue_my_token(
        SignedInUser("alice"), IssueMyTokenRequest(), world.lifecycle, POLICY
    )

    assert issued.id == bobs


@each_operation_for_users
@pytest.mark.parametrize(
    ("claims", "refusal"),
    [
        pytest.param({**ALICE, "scp": "Use", "idtyp": "app"}, NotAllowed, id="application"),
        pytest.param(ALICE, NotAllowed, id="ID token"),
        pytest.param({**ALICE, "scp": "Other"}, NotAllowed, id="other scope"),
        pytest.param({"oid": "alice", "scp": "Use"}, NotSignedIn, id="without a tenant"),
    ],
)
async def test_only_people_are_users(
    operation: Operation, claims: dict[str, str], refusal: type[ServiceError]
) -> None:
    """Every operation for users requires a person's access token with the scope of this app."""
    with pytest.raises(refusal):
        await call(operation, claims, services(SIGN_IN_SCOPE="Use"))


@each_operation_for_users
async def test_a_user_cannot_use_up_the_quota(operation: Operation, world: World) -> None:
    """Every operation for users counts, and is refused beyond the budget before ACS is called."""
    limited = services(USER_CALLS_PER_MINUTE="1")
    limited.clock, limited.acs, limited.registry = world.clock, world.acs, world.registry
    limited.user_budgets.spend("aad/tenant/alice", 1)

    with pytest.raises(TooManyCalls) as caught:
        await call(operation, {**ALICE, "scp": "Use"}, limited)

    assert caught.value.retry_after == 60
    assert world.acs.calls == world.registry.calls == []


@each_operation_for_users
async def test_a_refused_caller_uses_up_no_budget(operation: Operation) -> None:
    """Nobody but the user can use up the user's budget."""
    limited = services(USER_CALLS_PER_MINUTE="1")
    with pytest.raises(NotAllowed):
        await call(operation, {**ALICE, "scp": "Use", "idtyp": "app"}, limited)

    limited.user_budgets.spend("aad/tenant/alice", 1)


def test_no_settings_contain_a_key() -> None:
    """The sample settings use the managed identity for ACS and for storage."""
    sample = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
    keys = (
        "COMMUNICATION_SERVICES_ACCESSKEY",
        "COMMUNICATION_SERVICES_CONNECTION_STRING",
        "AzureWebJobsStorage",
    )

    assert [name for name in keys if sample.get(name)] == []
    assert sample["AZURE_TOKEN_CREDENTIALS"] == "ManagedIdentityCredential"
