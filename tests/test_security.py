"""The claims of docs/security.md that no other test proves, and the references in that page."""

import ast
import json
import re
from pathlib import Path

import pytest

from identity_service.azure.table_codec import encode_identity, encode_user
from identity_service.identity import Identity, SignedInUser, State
from identity_service.operations.me import issue_my_token
from identity_service.policies import TokenPolicy
from identity_service.schemas import IssueMyTokenRequest
from tests.support.virtual_time import START
from tests.support.world import World

ROOT = Path(__file__).parent.parent
REFERENCE = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
REFERENCES = sorted(set(REFERENCE.findall((ROOT / "docs" / "security.md").read_text("utf-8"))))
POLICY = TokenPolicy(("chat", "voip"), 60, 240)


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


async def test_a_changed_user_row_decides_whose_token_is_issued(world: World) -> None:
    """The table is trusted: with a changed user row, alice gets a token of bob's identity."""
    bobs = await world.active("bob")
    await world.registry.insert_user("alice", bobs)
    issued = await issue_my_token(
        SignedInUser("alice"), IssueMyTokenRequest(), world.lifecycle, POLICY
    )

    assert issued.id == bobs


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
