"""What the soak takes for right: as much as may happen, and no more."""

from collections.abc import Collection
from random import Random

import pytest

from bench.soak.subject import CUT_SHORT, Answer, State, Subject

DICE = Random(0)  # noqa: S311 -- repeatable, no secret
ID, OTHER = "8:acs:one", "8:acs:other"
# Whatever failure there is, it was caused.
ANY = {0, 429, 502, 503, 504}
MEMBERS = {"type": "/p", "title": "No", "detail": "No."}


def subject(state: State, **known: object) -> Subject:
    """A user in that state, with one identity so far."""
    made = Subject("user@example.com", state, "" if state is State.NOTHING else ID)
    for name, value in known.items():
        setattr(made, name, value)
    return made


def success(status: int, **body: object) -> Answer:
    """A success."""
    return Answer(status, body)


def problem(status: int, code: str, seconds: float = 0) -> Answer:
    """A problem."""
    return Answer(status, {**MEMBERS, "status": status, "code": code}, seconds)


def judged(user: Subject, operation: str, answer: Answer, excused: Collection[int] = ()) -> str:
    """What is wrong with the answer."""
    user.pending = operation
    step = user.next(DICE)
    user.pending = ""
    return user.judge(step, answer, excused)


NO_BODY = success(204)
NOT_FOUND = problem(404, "identity_not_found")
GONE = problem(409, "identity_deleted")
RIGHT = [
    (State.NOTHING, "create_identity", success(201, id=ID), State.ACTIVE),
    (State.NOTHING, "create_identity_with_token", success(201, id=ID, token="t"), State.ACTIVE),
    (State.ACTIVE, "create_identity", success(200, id=ID), State.ACTIVE),
    (State.ACTIVE, "issue_token", success(200, id=ID, token="t"), State.ACTIVE),
    (State.ACTIVE, "revoke_tokens", NO_BODY, State.ACTIVE),
    (State.ACTIVE, "get_identity", success(200, id=ID), State.ACTIVE),
    (State.ACTIVE, "list_identities", success(200, value=[{"id": ID}]), State.ACTIVE),
    (State.ACTIVE, "get_deleted_identity", NOT_FOUND, State.ACTIVE),
    (State.ACTIVE, "purge_identity", problem(409, "identity_not_deleted"), State.ACTIVE),
    (State.ACTIVE, "delete_identity", success(202, id=ID), State.DELETED),
    (State.DELETED, "delete_identity", success(202, id=ID), State.DELETED),
    (State.DELETED, "issue_token", GONE, State.DELETED),
    (State.DELETED, "create_identity", GONE, State.DELETED),
    (State.DELETED, "create_identity", success(201, id=OTHER), State.ACTIVE),
    (State.DELETED, "get_identity", problem(404, "identity_deleted"), State.DELETED),
    (State.DELETED, "get_identity", NOT_FOUND, State.NOTHING),
    (State.DELETED, "list_identities", success(200, value=[]), State.DELETED),
    (State.DELETED, "get_deleted_identity", success(200, id=ID), State.DELETED),
    (State.DELETED, "restore_identity", success(200, id=ID), State.ACTIVE),
    (State.DELETED, "restore_identity", NOT_FOUND, State.NOTHING),
    (State.DELETED, "purge_identity", NO_BODY, State.NOTHING),
    (State.DELETED, "revoke_tokens", NO_BODY, State.DELETED),
]


@pytest.mark.parametrize(("state", "operation", "answer", "after"), RIGHT)
def test_right(state: State, operation: str, answer: Answer, after: State) -> None:
    """It is right, and the user has that afterwards."""
    user = subject(state)

    assert judged(user, operation, answer) == ""
    assert user.state is after


WRONG = [
    (State.NOTHING, "create_identity", success(200, id=ID)),
    (State.NOTHING, "create_identity", success(201)),
    (State.ACTIVE, "create_identity", success(201, id=OTHER)),
    (State.ACTIVE, "create_identity", success(200, id=OTHER)),
    (State.ACTIVE, "create_identity", GONE),
    (State.ACTIVE, "issue_token", success(200, id=OTHER, token="t")),
    (State.ACTIVE, "issue_token", success(200, id=ID)),
    (State.ACTIVE, "issue_token", NOT_FOUND),
    (State.ACTIVE, "revoke_tokens", NOT_FOUND),
    (State.ACTIVE, "get_identity", success(200, id=OTHER)),
    (State.ACTIVE, "get_identity", problem(404, "identity_deleted")),
    (State.ACTIVE, "list_identities", success(200, value=[])),
    (State.ACTIVE, "list_identities", success(200, value=[{"id": ID}, {"id": OTHER}])),
    (State.ACTIVE, "list_identities", problem(400, "invalid_query")),
    (State.ACTIVE, "get_deleted_identity", success(200, id=ID)),
    (State.ACTIVE, "purge_identity", NO_BODY),
    (State.ACTIVE, "delete_identity", NOT_FOUND),
    (State.DELETED, "list_identities", success(200, value=[{"id": ID}])),
    (State.DELETED, "get_identity", success(200, id=ID)),
    (State.DELETED, "create_identity", success(200, id=ID)),
    (State.DELETED, "restore_identity", success(200, id=OTHER)),
    (State.DELETED, "restore_identity", problem(409, "identity_not_deleted")),
    (State.ACTIVE, "issue_token", problem(503, "acs_unavailable")),
    (State.ACTIVE, "issue_token", problem(503, "identity_busy")),
    (State.ACTIVE, "issue_token", problem(500, "internal_error")),
    (State.ACTIVE, "issue_token", Answer(0)),
    (State.ACTIVE, "issue_token", Answer(500)),
    (State.ACTIVE, "issue_token", Answer(404, {"status": 404, "code": "identity_not_found"})),
]


@pytest.mark.parametrize(("state", "operation", "answer"), WRONG)
def test_wrong(state: State, operation: str, answer: Answer) -> None:
    """It is wrong while all is well."""
    assert judged(subject(state), operation, answer) != ""


@pytest.mark.parametrize("answer", [problem(503, "acs_unavailable"), Answer(0)])
def test_what_fails_while_something_does_is_no_wonder(answer: Answer) -> None:
    """And the same is asked for again."""
    user = subject(State.ACTIVE)

    assert judged(user, "delete_identity", answer, ANY) == ""
    assert user.next(DICE).operation == "delete_identity"


def test_what_fails_in_another_way_than_was_caused_is_wrong() -> None:
    """A managed identity that fails is no reason for a 503 of ACS."""
    user = subject(State.ACTIVE)

    assert judged(user, "issue_token", problem(503, "acs_unavailable"), {429}) != ""


def test_a_defect_is_wrong_whatever_fails() -> None:
    """500 is never an answer."""
    answer = problem(500, "internal_error")

    assert judged(subject(State.ACTIVE), "delete_identity", answer, ANY) != ""


def test_an_answer_after_its_deadline_is_wrong_whatever_fails() -> None:
    """Ten seconds are promised."""
    late = problem(503, "acs_unavailable", seconds=10.1)

    assert judged(subject(State.ACTIVE), "delete_identity", late, ANY) != ""


def test_what_was_not_known_may_have_happened() -> None:
    """A deletion that failed, and was finished and swept: the next one finds nothing."""
    user = subject(State.ACTIVE, tokens=["t"])
    judged(user, "delete_identity", Answer(0), ANY)

    assert judged(user, "delete_identity", NOT_FOUND) == ""
    assert user.state is State.NOTHING
    assert (user.tokens, user.dead_tokens) == ([], ["t"])


def test_nothing_else_is_asked_until_all_is_calm() -> None:
    """What failed may happen yet, even after the next one has succeeded."""
    user = subject(State.DELETED, pending="restore_identity")
    user.judge(user.next(DICE), problem(503, "acs_unavailable"), ANY)
    user.judge(user.next(DICE), success(200, id=ID), ANY)

    assert user.next(DICE).operation == "restore_identity"


def test_what_is_known_and_calm_is_over() -> None:
    """Anything may be asked again."""
    user = subject(State.DELETED, pending="restore_identity")
    user.judge(user.next(DICE), success(200, id=ID), ANY)

    user.calm()

    assert user.pending == ""


def test_what_is_not_known_is_asked_until_it_is() -> None:
    """Calm alone tells nothing."""
    user = subject(State.DELETED, pending="restore_identity")
    user.judge(user.next(DICE), problem(503, "acs_unavailable"), ANY)

    user.calm()

    assert user.next(DICE).operation == "restore_identity"


@pytest.mark.parametrize("operation", ["revoke_tokens", "delete_identity"])
def test_revoked_tokens_are_dead(operation: str) -> None:
    """None of those that came out may work any more."""
    user = subject(State.ACTIVE, tokens=["s", "t"])

    judged(user, operation, success(204 if operation == "revoke_tokens" else 202, id=ID))

    assert (user.tokens, user.dead_tokens) == ([], ["s", "t"])


def test_a_token_of_a_deleted_identity_is_dead() -> None:
    """One that came out beside the purge is right only if it does not work."""
    user = subject(State.DELETED)

    assert judged(user, "issue_token", success(200, id=ID, token="t")) == ""
    assert (user.tokens, user.dead_tokens) == ([], ["t"])


def test_whoever_is_being_purged_asks_again() -> None:
    """Nothing is wrong, and it takes a moment."""
    user = subject(State.DELETED)

    assert judged(user, "create_identity", problem(503, "identity_busy")) == ""
    assert not user.has_to_wait


def test_whose_purge_was_cut_short_has_to_wait() -> None:
    """Until a sweep takes it up again."""
    user = subject(State.DELETED)

    for _ in range(CUT_SHORT):
        judged(user, "create_identity", problem(503, "identity_busy"))

    assert user.has_to_wait


def test_an_answer_between_ends_the_count() -> None:
    """Being purged now and then is no purge cut short."""
    user = subject(State.DELETED)

    for _ in range(CUT_SHORT):
        judged(user, "create_identity", problem(503, "identity_busy"))
        judged(user, "create_identity", GONE)

    assert not user.has_to_wait


def test_whose_purge_has_lost_its_answer_has_to_wait() -> None:
    """For an hour; ACS must have deleted it."""
    user = subject(State.DELETED)

    assert judged(user, "purge_identity", problem(503, "acs_unavailable")) == ""
    assert (user.has_to_wait, user.is_gone) == (True, True)


def test_a_purge_that_fails_while_acs_does_proves_nothing() -> None:
    """The identity may be there yet."""
    user = subject(State.DELETED)

    assert judged(user, "purge_identity", problem(503, "acs_unavailable"), {503}) == ""
    assert (user.is_gone, user.pending) == (False, "purge_identity")
