"""The audit trail keeps what it promises, and nothing that it must not have."""

import re

from tests.infra.bicep import INFRA, read

SOURCE = (INFRA / "audit.bicep").read_text()
AUDIT = read(SOURCE.encode())
VALUES = dict(AUDIT.values)


def strings(variable: str) -> list[str]:
    """The texts in a variable."""
    [text] = re.findall(rf"^var {variable} = (.+?)\n\n", SOURCE, re.MULTILINE | re.DOTALL)
    return re.findall(r"'([\w-]+)'", text)


def test_reads_of_the_registry_are_not_logged() -> None:
    """The URL of a read can have the hash of a user id."""
    assert strings("storageLogs") == ["StorageWrite", "StorageDelete"]
    assert not re.search(r"categoryGroup|'StorageRead'|allLogs", SOURCE)


def test_every_log_has_a_protected_container() -> None:
    """The containers are those that Azure Monitor writes to, and each of them has a policy."""
    tables = {f"am-{name.lower()}" for name in strings("tables")}
    categories = {*strings("storageLogs"), *strings("communicationLogs")}

    assert set(strings("containerNames")) == {
        *tables,
        *(f"insights-logs-{name.lower()}" for name in categories),
    }
    assert "for index in range(0, length(containerNames))" in SOURCE
    assert ("parent", "containers[index]") in AUDIT.values


def test_lines_can_be_added() -> None:
    """Azure Monitor appends to blobs that are protected already."""
    assert VALUES["properties.allowProtectedAppendWrites"] == "true"


def test_lines_are_protected_as_long_as_they_are_kept() -> None:
    """A blob is protected for the retention, and deleted after it."""
    rule = "properties.policy.rules.definition.actions.baseBlob.delete"

    assert VALUES["properties.immutabilityPeriodSinceCreationInDays"] == "retentionDays"
    assert VALUES[f"{rule}.daysAfterModificationGreaterThan"] == "retentionDays"


def test_the_policy_is_not_locked() -> None:
    """A locked policy would keep the account from being deleted, so nothing here locks it."""
    assert not re.search(r"\block\b|'Locked'|Microsoft.Authorization/locks", SOURCE)


def test_nothing_is_logged_before_it_is_protected() -> None:
    """The export and the settings wait for the policies."""
    writers = [
        name
        for name, kind in AUDIT.resources.items()
        if "dataExports@" in kind or "diagnosticSettings@" in kind
    ]

    assert len(writers) == SOURCE.count("dependsOn: [policies]") == 4


def test_the_app_has_no_role_on_the_trail() -> None:
    """Whoever takes over the app cannot change what it has logged."""
    assert "principalId" not in SOURCE
    assert "roleAssignments" not in SOURCE
