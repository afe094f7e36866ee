"""The domain: ids, timestamps, every change of state, and the due entries."""

import inspect
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple, Self

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from identity_service.errors import InvalidIdentityId
from identity_service.identity import (
    LEASE,
    YOUNG,
    Actor,
    DueEntry,
    DueKind,
    Identity,
    IllegalTransition,
    State,
    identity_id,
    is_identity_id,
    timestamp,
)
from tests.support.acs_transport import IDENTITY

GUIDS = IDENTITY.removeprefix("8:acs:")
NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=2)
RETENTION = timedelta(days=7)
SECOND = timedelta(seconds=1)

# Ids

NO_IDS = {
    "empty": "",
    "spaces": " ",
    "no prefix": GUIDS,
    "another kind of user": f"8:orgid:{GUIDS}",
    "prefix in upper case": f"8:ACS:{GUIDS}",
    "one GUID": IDENTITY.partition("_")[0],
    "three GUIDs": f"{IDENTITY}_{GUIDS.partition('_')[0]}",
    "upper case": IDENTITY.replace("a", "A"),
    "space before": f" {IDENTITY}",
    "space after": f"{IDENTITY} ",
    "space within": IDENTITY.replace("-", " ", 1),
    "newline after": f"{IDENTITY}\n",
    "slash": f"{IDENTITY}/",
    "encoded slash": f"{IDENTITY}%2F",
    "encoded colons": IDENTITY.replace(":", "%3A"),
    "question mark": f"{IDENTITY}?",
    "dots": "..",
    "only a slash": "/",
    "10,000 characters": "8:acs:" + "1" * 9_994,
    "10,000 characters after it": IDENTITY + "1" * 10_000,
    "emoji": IDENTITY[:-1] + "😀",
    "full-width digits": IDENTITY.replace("1", "\N{FULLWIDTH DIGIT ONE}"),
    "Arabic digits": IDENTITY.replace("1", "\N{ARABIC-INDIC DIGIT ONE}"),
    "not hexadecimal": IDENTITY.replace("2a", "2g"),
    "null character": f"{IDENTITY}\0",
}
GUID = st.from_regex(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", fullmatch=True)


@given(st.sampled_from(["8:acs:", "8:gcch-acs:", "8:dod-acs:"]), GUID, GUID)
def test_any_two_guids(prefix: str, resource: str, user: str) -> None:
    """Any two GUIDs in lower case make an id, in the public and in the sovereign clouds."""
    text = f"{prefix}{resource}_{user}"

    assert (identity_id(text), is_identity_id(text)) == (text, True)


@pytest.mark.parametrize("text", list(NO_IDS.values()), ids=list(NO_IDS))
def test_no_id(text: str) -> None:
    """Text that is not exactly the id of an ACS identity is refused."""
    with pytest.raises(InvalidIdentityId):
        identity_id(text)

    assert not is_identity_id(text)


@given(
    st.integers(0, len(IDENTITY) - 1),
    st.characters().filter(lambda one: one not in "0123456789abcdef:-_"),
)
def test_one_invalid_character(position: int, invalid: str) -> None:
    """One invalid character at any position is enough to refuse the text."""
    text = IDENTITY[:position] + invalid + IDENTITY[position + 1 :]

    assert not is_identity_id(text)


def test_error_of_an_invalid_id() -> None:
    """The error names the field and what it accepts, and does not repeat the text."""
    with pytest.raises(InvalidIdentityId) as caught:
        identity_id("some-text")

    assert (caught.value.field, caught.value.allowed) == (
        "id",
        "8:acs:<GUID>_<GUID> in lower case (or 8:gcch-acs:, 8:dod-acs:)",
    )
    assert "some-text" not in caught.value.detail


OTHER_KIND = "Send the id of an ACS identity."
LOOK_ALIKES = {
    "upper case": (IDENTITY.upper(), "lower case"),
    "prefix in upper case": (f"8:ACS:{GUIDS}", "lower case"),
    "white space": (f" {IDENTITY}\n", "white space"),
    "encoded twice": (IDENTITY.replace(":", "%3A"), "is encoded twice"),
    "encoded twice, in lower case": (
        IDENTITY.replace(":", "%3a"),
        "is encoded twice",
    ),
    "encoded three times": (IDENTITY.replace(":", "%253A"), "is encoded twice"),
    "encoded four times": (IDENTITY.replace(":", "%25253A"), "is encoded twice"),
    "Teams user": ("8:orgid:88398e01-af2b-4529-9e83-7b0c125f193b", "POST teams/token"),
    "Teams user in upper case": ("8:ORGID:88398e01", "POST teams/token"),
    "Teams user of a sovereign cloud": ("8:gcch:88398e01-af2b", "POST teams/token"),
    "Teams visitor": ("8:teamsvisitor:88398e01", OTHER_KIND),
    "Skype user": ("8:live:alice", OTHER_KIND),
    "bot": ("28:88398e01-af2b-4529-9e83-7b0c125f193b", OTHER_KIND),
    "bot of a sovereign cloud": ("28:gcch:88398e01", OTHER_KIND),
    "phone number": ("4:+14255550123", OTHER_KIND),
    "phone number without prefix": ("+14255550123", OTHER_KIND),
    "chat thread": ("19:acsV1_abc@thread.v2", OTHER_KIND),
    "object": ("[object Object]", "not converted to text"),
    "object, encoded twice": ("%5Bobject%20Object%5D", "not converted to text"),
    "number": ("42", "not converted to text"),
    "undefined": ("undefined", "not converted to text"),
    "null": ("null", "not converted to text"),
    "None": ("None", "not converted to text"),
    "placeholder": ("{id}", "placeholder"),
    "placeholder of Express": (":id", "placeholder"),
    "placeholder, encoded twice": ("%7Bid%7D", "placeholder"),
    "underscore, encoded twice": (IDENTITY.replace("_", "%5F"), "is encoded twice"),
    "one GUID": (IDENTITY.partition("_")[0], "two GUIDs"),
    "three GUIDs": (f"{IDENTITY}_{GUIDS[:36]}", "two GUIDs"),
    "slash at the end": (f"{IDENTITY}/", "two GUIDs"),
    "Cyrillic letter": (IDENTITY.replace("a", "\u0430", 1), "not ASCII"),
    "full-width colon": (IDENTITY.replace(":", "\uff1a"), "not ASCII"),
    "invisible": (f"\u200b{IDENTITY}", "not ASCII"),
    "null character": (f"{IDENTITY}\0", "white space"),
    "JSON": (f'{{"id":"{IDENTITY}"}}', "JSON"),
    "quotation marks": (f'"{IDENTITY}"', "quotation marks"),
    "no prefix": (GUIDS, "prefix 8:acs:"),
    "half of the prefix": (f"acs:{GUIDS}", "prefix 8:acs:"),
    "GUID": ("88398e01-af2b-4529-9e83-7b0c125f193b", "two GUIDs"),
    "mail address": ("alice@example.com", "identities?userId="),
    "anything else": ("alice", "not the id of an ACS identity"),
    "empty": ("", "not the id of an ACS identity"),
}


@pytest.mark.parametrize(("text", "explanation"), LOOK_ALIKES.values(), ids=LOOK_ALIKES)
def test_look_alike(text: str, explanation: str) -> None:
    """The error says what was sent instead of an id and what to do, and does not repeat it."""
    with pytest.raises(InvalidIdentityId) as caught:
        identity_id(text)

    assert explanation in caught.value.detail
    assert not text or text not in caught.value.detail
    assert caught.value.field == "id"


@pytest.mark.parametrize(
    "text",
    ["%25" * 3_000, "%" + "25" * 4_000, "'" * 8_000, "@" * 8_000, "8:" * 4_000, "[object " * 900],
)
def test_hostile_text(text: str) -> None:
    """No text makes the explanation slow."""
    started = time.process_time()
    with pytest.raises(InvalidIdentityId):
        identity_id(text)

    assert time.process_time() - started < 0.5  # usually less than 0.01


# Timestamps

# Python does not pad the year of earlier times.
MOMENTS = st.datetimes(timezones=st.just(UTC)).filter(lambda moment: moment.year >= 1000)


def test_timestamp() -> None:
    """A timestamp is in UTC, with microseconds."""
    moment = datetime(2030, 1, 1, 14, 30, tzinfo=timezone(timedelta(hours=2)))

    assert timestamp(moment) == "2030-01-01T12:30:00.000000Z"


@given(MOMENTS, MOMENTS)
def test_timestamps_sort(one: datetime, other: datetime) -> None:
    """Timestamps sort in the order of their times."""
    assert (timestamp(one) < timestamp(other)) == (one < other)


# Transitions


def in_state(state: State, *, revoked: bool = True) -> Identity:
    """An identity in this state, with a value in every attribute."""
    return Identity(
        id=IDENTITY,
        state=state,
        user_id="alice",
        created_on=NOW,
        deleted_on=NOW,
        scheduled_purge_on=NOW + RETENTION,
        deleted_by=Actor.SERVICE,
        suspended_on=NOW,
        revoked=revoked,
        adopted=True,
        due=NOW + 2 * RETENTION,
        due_kind=DueKind.PURGE,
        known_on=NOW,
        unknown_columns=(("color", "red"),),
        attempts=3,
        last_error="acs_unavailable",
        etag="version-1",
    )


NO_FAILURES: dict[str, object] = {"attempts": 0, "last_error": None}
WORK: dict[str, object] = {"due_kind": DueKind.WORK}
NOT_DELETED = {
    "deleted_on": None,
    "scheduled_purge_on": None,
    "revoked": False,
    "adopted": False,
    "deleted_by": None,
    "due": None,
    **WORK,
}


class Transition(NamedTuple):
    """A change of state, the states that allow it, and what changes."""

    change: Callable[[Identity], Identity]
    allowed: set[State]
    changed: dict[str, object]
    if_suspended: dict[str, object] | None = None


TRANSITIONS = {
    "finish_creation": Transition(
        Identity.finish_creation,
        {State.CREATING},
        {"state": State.ACTIVE, **NOT_DELETED, **NO_FAILURES},
    ),
    "finish_registration": Transition(
        Identity.finish_registration,
        {State.REGISTERING},
        {"state": State.ACTIVE, **NOT_DELETED, **NO_FAILURES},
    ),
    "start_rollback": Transition(
        lambda row: row.start_rollback(LATER), {State.REGISTERING}, {"due": LATER + LEASE, **WORK}
    ),
    "delete": Transition(
        lambda row: row.delete(LATER, RETENTION, Actor.USER),
        {State.ACTIVE, State.SUSPENDED},
        {
            "state": State.DELETED,
            "deleted_on": LATER,
            "deleted_by": Actor.USER,
            "suspended_on": None,
            "scheduled_purge_on": LATER + RETENTION,
            "revoked": False,
            "due": LATER + LEASE,
            **WORK,
            **NO_FAILURES,
        },
        {"suspended_on": NOW},
    ),
    "record_revocation": Transition(
        Identity.record_revocation,
        {State.DELETED, State.SUSPENDED},
        {
            "revoked": True,
            "adopted": False,
            "due": NOW + RETENTION,
            "due_kind": DueKind.PURGE,
            **NO_FAILURES,
        },
        {**NOT_DELETED, **NO_FAILURES, "revoked": True},
    ),
    "take_over_deletion": Transition(
        lambda row: replace(row, deleted_by=None).take_over_deletion(Actor.SERVICE),
        {State.DELETED},
        {"deleted_by": Actor.SERVICE},
    ),
    "suspend": Transition(
        lambda row: row.suspend(LATER),
        {State.ACTIVE},
        {
            "state": State.SUSPENDED,
            "suspended_on": LATER,
            "revoked": False,
            "due": LATER + LEASE,
            **WORK,
            **NO_FAILURES,
        },
    ),
    "resume": Transition(
        Identity.resume,
        {State.SUSPENDED},
        {"state": State.ACTIVE, "suspended_on": None, **NOT_DELETED, **NO_FAILURES},
    ),
    "wait_for_purge": Transition(
        Identity.wait_for_purge, {State.DELETED}, {"due_kind": DueKind.PURGE}
    ),
    "restore": Transition(
        Identity.restore,
        {State.DELETED},
        {"state": State.SUSPENDED, **NOT_DELETED, **NO_FAILURES, "revoked": True},
    ),
    "start_purge": Transition(
        lambda row: row.start_purge(LATER),
        {State.CREATING, State.DELETED},
        {"state": State.PURGING, "adopted": False, "due": LATER + LEASE, **WORK},
    ),
    "postpone": Transition(
        lambda row: row.postpone(LATER, "throttled"),
        {State.CREATING, State.REGISTERING, State.SUSPENDED, State.DELETED, State.PURGING},
        {"due": LATER, "attempts": 4, "last_error": "throttled", **WORK},
    ),
    "with_etag": Transition(
        lambda row: row.with_etag("version-2"), set(State), {"etag": "version-2"}
    ),
}


def test_all_transitions() -> None:
    """The table of this test has every method that returns a changed row."""
    methods = {
        name
        for name, method in inspect.getmembers(Identity, inspect.isfunction)
        if not name.startswith("_") and method.__annotations__["return"] is Self
    }

    assert methods == set(TRANSITIONS)


@pytest.mark.parametrize("revoked", [False, True])
@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("name", TRANSITIONS)
def test_transition(name: str, state: State, revoked: bool) -> None:
    """A transition is allowed in exactly these states, and changes exactly these attributes."""
    change, allowed, changed, if_suspended = TRANSITIONS[name]
    if if_suspended and state is State.SUSPENDED:
        changed = changed | if_suspended
    row = in_state(state, revoked=revoked)
    if state in allowed:
        assert change(row) == replace(row, **changed)
    else:
        with pytest.raises(IllegalTransition, match=state):
            change(row)

    assert row == in_state(state, revoked=revoked)


@pytest.mark.parametrize("user_id", ["alice", None])
def test_create(user_id: str | None) -> None:
    """A new identity is being created, and due after a lease."""
    assert Identity.create(IDENTITY, user_id, NOW) == Identity(
        id=IDENTITY, state=State.CREATING, user_id=user_id, created_on=NOW, due=NOW + LEASE
    )


def test_adopt() -> None:
    """An identity that was created elsewhere is known since a delete or a suspend wrote it."""
    assert Identity.adopt(IDENTITY, NOW) == Identity(
        id=IDENTITY, state=State.ACTIVE, known_on=NOW, adopted=True
    )


def test_restore_of_an_identity_that_was_not_suspended() -> None:
    """It is active again."""
    row = replace(in_state(State.DELETED), suspended_on=None)

    assert row.restore() == replace(row, state=State.ACTIVE, **NOT_DELETED, **NO_FAILURES)


def test_deletion_repeated_by_a_user() -> None:
    """It changes nothing, whoever deleted the identity."""
    row = in_state(State.DELETED)

    assert row.take_over_deletion(Actor.USER) == row


def test_deletion_by_an_earlier_release() -> None:
    """It counts as the user's."""
    assert replace(in_state(State.DELETED), deleted_by=None).deleter is Actor.USER


def test_mark() -> None:
    """Another state, another deletion or another suspension is another mark."""
    row = in_state(State.DELETED)

    assert row.has_mark_of(replace(row, revoked=False, attempts=0, deleted_by=None))
    for change in ({"state": State.PURGING}, {"deleted_on": LATER}, {"suspended_on": LATER}):
        assert not row.has_mark_of(replace(row, **change))


@pytest.mark.parametrize("user_id", ["alice", None])
def test_register(user_id: str | None) -> None:
    """An identity that was created elsewhere is being registered, and due after a lease."""
    assert Identity.register(IDENTITY, user_id, NOW) == Identity(
        id=IDENTITY, state=State.REGISTERING, user_id=user_id, known_on=NOW, due=NOW + LEASE
    )


@pytest.mark.parametrize("state", State)
def test_whose_identity(state: State) -> None:
    """An identity is its user's until its purge starts."""
    row = in_state(state)

    assert row.belongs_to("alice") is (state is not State.PURGING)
    assert not row.belongs_to("bob")


def test_found_at_its_entry() -> None:
    """A row is found at the entry with its time. The entry has the kind if the row has lost it."""
    row = replace(in_state(State.PURGING), due=NOW, due_kind=DueKind.WORK)

    assert row.found_at(DueEntry(NOW, IDENTITY, DueKind.PURGE)) == replace(
        row, due_kind=DueKind.PURGE
    )
    assert row.found_at(DueEntry(LATER, IDENTITY)) is None


@pytest.mark.parametrize("due", [LATER + LEASE - SECOND, None], ids=["due earlier", "not due"])
def test_due_time_of_a_purge(due: datetime | None) -> None:
    """A purge that has started is due after a lease, or at its earlier time."""
    row = replace(in_state(State.DELETED), due=due)

    assert row.start_purge(LATER).due == (due or LATER + LEASE)


@pytest.mark.parametrize(
    ("created_on", "is_young"),
    [(NOW, True), (NOW - YOUNG + SECOND, True), (NOW - YOUNG, False), (None, False)],
)
def test_young(created_on: datetime | None, is_young: bool) -> None:
    """An identity is young for an hour after it was created, or after it became known."""
    created = Identity(id=IDENTITY, state=State.ACTIVE, created_on=created_on)
    known = Identity(id=IDENTITY, state=State.ACTIVE, known_on=created_on)

    assert (created.is_young(NOW), known.is_young(NOW)) == (is_young, is_young)
    assert timedelta(hours=1) == YOUNG


# Due entries

ENTRIES = st.builds(
    DueEntry, MOMENTS, st.text(min_size=1, max_size=80), st.sampled_from(list(DueKind))
)


@given(ENTRIES)
def test_parsed_due_entry(entry: DueEntry) -> None:
    """A due entry is parsed from its position and its kind."""
    assert DueEntry.at(entry.position, entry.kind) == entry


@given(ENTRIES, ENTRIES)
def test_due_entries_sort(one: DueEntry, other: DueEntry) -> None:
    """Due entries sort by time, then by identity, and their positions sort in the same order."""
    assume((one.due, one.identity_id) != (other.due, other.identity_id))

    assert (one < other) == ((one.due, one.identity_id) < (other.due, other.identity_id))
    assert (one < other) == (one.position < other.position)


@pytest.mark.parametrize(
    "text",
    ["", "|", "x|y", f"|{IDENTITY}", "2030-01-01T12:00:00.000000Z", "2030-01-01T12:00:00.000000Z|"],
)
def test_no_due_entry(text: str) -> None:
    """Text in another form is not a due entry."""
    with pytest.raises(ValueError):  # noqa: PT011 -- the text of the error is not part of the contract
        DueEntry.at(text)
