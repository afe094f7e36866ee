"""The claims of docs/security.md that no other test proves, and the references in that page."""

import ast
import json
import re
from pathlib import Path

import pytest

from identity_service.entities import identity_entity, user_entity
from identity_service.model import TokenPolicy
from identity_service.operations import issue_my_token
from identity_service.operations.issue_my_token import IssueMyToken
from identity_service.rows import IdentityRow, State
from tests.operations_me.world import ALICE, BOB, NOW, StillClock, TinyAcs, TinyRegistry

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
    row = IdentityRow(
        id="8:acs:a_b",
        state=State.DELETED,
        user_id=ALICE.user_id,
        created_on=NOW,
        deleted_on=NOW,
        scheduled_purge_on=NOW,
        revoked=True,
        adopted=True,
        due=NOW,
        attempts=1,
        last_error="acs_unavailable",
    )
    stored = identity_entity(row).keys() | user_entity(ALICE.user_id, "8:acs:a_b").keys()

    ids = {"PartitionKey", "RowKey", "state", "userId", "identityId"}
    times = {"createdOn", "deletedOn", "scheduledPurgeOn", "due"}
    assert stored == ids | times | {"revoked", "adopted", "attempts", "lastError"}


async def test_a_changed_user_row_decides_whose_token_is_issued() -> None:
    """The table is trusted: with a changed user row, alice gets a token of bob's identity."""
    acs, registry = TinyAcs(), TinyRegistry()
    registry.users[ALICE.user_id] = registry.holds(BOB)

    issued = await issue_my_token(ALICE, IssueMyToken(), acs, registry, StillClock(), POLICY)

    assert issued.id == registry.users[BOB.user_id]


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
