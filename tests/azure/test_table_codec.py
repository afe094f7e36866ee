"""How rows are stored. A change here would lose the rows of every deployed registry."""

from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from identity_service.azure.table_codec import (
    due_changes,
    encode_access,
    encode_identity,
    encode_user,
    partition,
    user_key,
)
from identity_service.identity import Actor, Identity, State
from identity_service.teams_access import Access, Assignment

ID = "8:acs:00000000-1111-2222-3333-444444444444_00000001-1111-2222-3333-444444444444"
NOW = datetime(2030, 1, 1, 12, 30, 0, 5, UTC)
# What Azure Table Storage does not accept in a key.
NOT_IN_KEYS = set("/\\#?") | set(map(chr, [*range(32), *range(127, 160)]))
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 -- bounds must be naive


def test_stored_identity() -> None:
    """The entity of an identity row, in full."""
    identity = (
        Identity.create(ID, "alice", NOW)
        .finish_creation()
        .delete(NOW, timedelta(days=7), Actor.SERVICE)
    )

    assert encode_identity(identity) == {
        "PartitionKey": "11",
        "RowKey": f"i|{ID}",
        "state": "deleted",
        "deletedBy": "service",
        "userId": "alice",
        "createdOn": "2030-01-01T12:30:00.000005Z",
        "deletedOn": "2030-01-01T12:30:00.000005Z",
        "scheduledPurgeOn": "2030-01-08T12:30:00.000005Z",
        "due": "2030-01-01T12:31:00.000005Z",
    }


def test_stored_due_entry() -> None:
    """The entity of a due entry, in full: only keys, in the identity's partition."""
    identity = Identity.create(ID, None, NOW)

    assert due_changes(None, identity) == [
        ("create", {"PartitionKey": "11", "RowKey": f"t|2030-01-01T12:31:00.000005Z|{ID}"})
    ]


def test_stored_access() -> None:
    """The entity of an access row, in full. The client ids are one text."""
    access = Access.absent("tenant", "object").assign(
        Assignment("user", ("one", "two")), NOW + timedelta(days=1), NOW
    )

    assert encode_access(access) == {
        "PartitionKey": "13",
        "RowKey": "a|tenant|object",
        "state": "assigning",
        "principalType": "user",
        "clientIds": "one two",
        "expiresOn": "2030-01-02T12:30:00.000005Z",
        "createdOn": "2030-01-01T12:30:00.000005Z",
        "changedOn": "2030-01-01T12:30:00.000005Z",
        "due": "2030-01-01T12:31:00.000005Z",
    }
    assert due_changes(None, access) == [
        (
            "create",
            {"PartitionKey": "13", "RowKey": "d|2030-01-01T12:31:00.000005Z|tenant|object"},
        )
    ]


def test_stored_user() -> None:
    """The entity of a user row, in full. The user id is stored as its SHA-256 only."""
    assert encode_user("alice", ID) == {
        "PartitionKey": "02",
        "RowKey": "u|2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90",
        "identityId": ID,
    }


@given(st.text(min_size=1, max_size=256))
@example("\ud800")
def test_any_user_id(user_id: str) -> None:
    """Any user id makes a valid key in one of the sixteen partitions."""
    assert user_key(user_id).removeprefix("u|").isalnum()
    assert 0 <= int(partition(user_id)) < 16


@given(MOMENTS, st.text(max_size=256))
def test_any_identity(moment: datetime, user_id: str) -> None:
    """The columns hold any values, and the key is valid."""
    identity = Identity(id=ID, state=State.ACTIVE, user_id=user_id, created_on=moment)
    entity = encode_identity(identity)

    assert entity["userId"] == user_id
    assert datetime.fromisoformat(entity["createdOn"]) == moment
    assert not set(entity["RowKey"]) & NOT_IN_KEYS
