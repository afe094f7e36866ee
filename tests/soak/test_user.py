"""Which responses the soak considers right."""

from collections.abc import Collection
from random import Random

import pytest

from bench.soak.user import Response, State, User

RANDOM = Random(0)  # noqa: S311 -- repeatable, no secret
ID, OTHER = "8:acs:one", "8:acs:other"
# All failures are allowed.
ANY = {0, 429, 502, 503, 504}
PROBLEM = {"type": "/p", "title": "No", "detail": "No."}


def user(state: State, **fields: object) -> User:
    """Return a user in that state; it has had one identity so far."""
    made = User("user@example.com", state, "" if state is State.NOTHING else ID)
    made.is_suspended = state is State.SUSPENDED
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def success(status: int, **body: object) -> Response:
    """Return a success."""
    return Response(status, body)


def problem(status: int, code: str, seconds: float = 0) -> Response:
    """Return a problem."""
    return Response(status, {**PROBLEM, "status": status, "code": code}, seconds)


def check(one: User, operation: str, response: Response, allowed: Collection[int] = ()) -> str:
    """Return what the user finds wrong with the response to this operation."""
    one.pending = operation
    request = one.next_request(RANDOM)
    one.pending = ""
    return one.check(request, response, allowed)


LISTED = {"id": ID, "state": "active"}
SUSPENDED = {"id": ID, "state": "suspended", "suspendedOn": "2030-01-01T12:00:00Z"}
DELETION = success(202, id=ID, deletedBy="service")
NO_BODY = success(204)
NOT_FOUND = problem(404, "identity_not_found")
GONE = problem(409, "identity_deleted")
BLOCKED = problem(409, "identity_suspended")
BUSY = problem(503, "identity_busy")
UNAVAILABLE = problem(503, "acs_unavailable")
RIGHT = [
    (State.NOTHING, "create_identity", success(201, id=ID), State.ACTIVE),
    (State.NOTHING, "create_identity_with_token", success(201, id=ID, token="t"), State.ACTIVE),
    (State.ACTIVE, "create_identity", success(200, id=ID), State.ACTIVE),
    (State.ACTIVE, "issue_token", success(200, id=ID, token="t"), State.ACTIVE),
    (State.ACTIVE, "revoke_tokens", NO_BODY, State.ACTIVE),
    (State.ACTIVE, "get_identity", success(200, **LISTED), State.ACTIVE),
    (State.ACTIVE, "list_identities", success(200, value=[LISTED]), State.ACTIVE),
    (State.ACTIVE, "get_deleted_identity", NOT_FOUND, State.ACTIVE),
    (State.ACTIVE, "purge_identity", problem(409, "identity_not_deleted"), State.ACTIVE),
    (State.ACTIVE, "delete_identity", DELETION, State.DELETED),
    (State.DELETED, "delete_identity", DELETION, State.DELETED),
    (State.DELETED, "issue_token", GONE, State.DELETED),
    (State.DELETED, "create_identity", GONE, State.DELETED),
    (State.DELETED, "create_identity", success(201, id=OTHER), State.ACTIVE),
    (State.DELETED, "get_identity", problem(404, "identity_deleted"), State.DELETED),
    (State.DELETED, "get_identity", NOT_FOUND, State.NOTHING),
    (State.DELETED, "list_identities", success(200, value=[]), State.DELETED),
    (
        State.DELETED,
        "list_identities",
        success(200, value=[{**LISTED, "state": "deleted"}]),
        State.DELETED,
    ),
    (
        State.DELETED,
        "get_deleted_identity",
        success(200, id=ID, deletedBy="service"),
        State.DELETED,
    ),
    (State.DELETED, "restore_identity", success(200, **LISTED), State.ACTIVE),
    (State.DELETED, "restore_identity", NOT_FOUND, State.NOTHING),
    (State.DELETED, "purge_identity", NO_BODY, State.NOTHING),
    (State.DELETED, "revoke_tokens", NO_BODY, State.DELETED),
    (State.DELETED, "suspend_identity", GONE, State.DELETED),
    (State.DELETED, "resume_identity", NOT_FOUND, State.NOTHING),
    (State.ACTIVE, "suspend_identity", success(200, **SUSPENDED), State.SUSPENDED),
    (State.ACTIVE, "resume_identity", success(200, **LISTED), State.ACTIVE),
    (State.SUSPENDED, "suspend_identity", success(200, **SUSPENDED), State.SUSPENDED),
    (State.SUSPENDED, "resume_identity", success(200, **LISTED), State.ACTIVE),
    (State.SUSPENDED, "create_identity", BLOCKED, State.SUSPENDED),
    (State.SUSPENDED, "issue_token", BLOCKED, State.SUSPENDED),
    (State.SUSPENDED, "get_identity", success(200, **SUSPENDED), State.SUSPENDED),
    (State.SUSPENDED, "list_identities", success(200, value=[SUSPENDED]), State.SUSPENDED),
    (State.SUSPENDED, "get_deleted_identity", NOT_FOUND, State.SUSPENDED),
    (
        State.SUSPENDED,
        "purge_identity",
        problem(409, "identity_not_deleted"),
        State.SUSPENDED,
    ),
    (State.SUSPENDED, "revoke_tokens", NO_BODY, State.SUSPENDED),
    (State.SUSPENDED, "delete_identity", DELETION, State.DELETED),
]


@pytest.mark.parametrize(("state", "operation", "response", "after"), RIGHT)
def test_right(state: State, operation: str, response: Response, after: State) -> None:
    """The response is right, and the user is in the expected state afterwards."""
    one = user(state)

    assert check(one, operation, response) == ""
    assert one.state is after


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
    (State.ACTIVE, "list_identities", success(200, value=[LISTED, {**LISTED, "id": OTHER}])),
    (State.ACTIVE, "list_identities", problem(400, "invalid_query")),
    (State.ACTIVE, "get_deleted_identity", success(200, id=ID)),
    (State.ACTIVE, "purge_identity", NO_BODY),
    (State.ACTIVE, "delete_identity", NOT_FOUND),
    (State.ACTIVE, "get_identity", success(200, **SUSPENDED)),
    (State.ACTIVE, "list_identities", success(200, value=[SUSPENDED])),
    (State.ACTIVE, "suspend_identity", success(200, **LISTED)),
    (State.ACTIVE, "suspend_identity", NOT_FOUND),
    (State.ACTIVE, "resume_identity", NOT_FOUND),
    (State.ACTIVE, "delete_identity", success(202, id=ID, deletedBy="user")),
    (State.ACTIVE, "create_identity", BUSY),
    (State.SUSPENDED, "issue_token", success(200, id=ID, token="t")),
    (State.SUSPENDED, "create_identity", success(200, id=ID)),
    (State.SUSPENDED, "create_identity", success(201, id=OTHER)),
    (State.SUSPENDED, "get_identity", success(200, **LISTED)),
    (State.SUSPENDED, "get_identity", success(200, id=ID, state="suspended")),
    (State.SUSPENDED, "list_identities", success(200, value=[])),
    (State.SUSPENDED, "resume_identity", success(200, **SUSPENDED)),
    (State.SUSPENDED, "delete_identity", NOT_FOUND),
    (State.SUSPENDED, "purge_identity", NO_BODY),
    (State.SUSPENDED, "create_identity", BUSY),
    (State.DELETED, "suspend_identity", success(200, **SUSPENDED)),
    (State.DELETED, "resume_identity", success(200, **LISTED)),
    (State.DELETED, "restore_identity", success(200, **SUSPENDED)),
    (State.DELETED, "restore_identity", BUSY),
    (State.DELETED, "get_deleted_identity", success(200, id=ID, deletedBy="user")),
    (State.DELETED, "list_identities", success(200, value=[LISTED])),
    (State.DELETED, "get_identity", success(200, id=ID)),
    (State.DELETED, "create_identity", success(200, id=ID)),
    (State.DELETED, "restore_identity", success(200, id=OTHER)),
    (State.DELETED, "restore_identity", problem(409, "identity_not_deleted")),
    (State.ACTIVE, "issue_token", problem(503, "acs_unavailable")),
    (State.ACTIVE, "issue_token", problem(503, "identity_busy")),
    (State.ACTIVE, "issue_token", problem(500, "internal_error")),
    (State.ACTIVE, "issue_token", Response(0)),
    (State.ACTIVE, "issue_token", Response(500)),
    (State.ACTIVE, "issue_token", Response(404, {"status": 404, "code": "identity_not_found"})),
]


@pytest.mark.parametrize(("state", "operation", "response"), WRONG)
def test_wrong(state: State, operation: str, response: Response) -> None:
    """The response is wrong if no fault is active."""
    assert check(user(state), operation, response) != ""


@pytest.mark.parametrize("response", [problem(503, "acs_unavailable"), Response(0)])
def test_failure_during_a_fault_is_allowed(response: Response) -> None:
    """A failure that a fault may cause is right, and the request is retried."""
    one = user(State.ACTIVE)

    assert check(one, "delete_identity", response, ANY) == ""
    assert one.next_request(RANDOM).operation == "delete_identity"


@pytest.mark.parametrize(
    ("response", "allowed"),
    [
        (problem(503, "acs_unavailable"), {429}),
        (problem(500, "internal_error"), ANY),
        (problem(503, "acs_unavailable", seconds=10.1), ANY),
    ],
    ids=["not of this fault", "internal error", "after the deadline"],
)
def test_failure_is_wrong_in_spite_of_a_fault(response: Response, allowed: set[int]) -> None:
    """The fault does not explain it."""
    assert check(user(State.ACTIVE), "delete_identity", response, allowed) != ""


def test_unknown_result_may_have_happened() -> None:
    """A deletion that failed may have been finished and purged: its retry may find nothing."""
    one = user(State.ACTIVE, tokens=["t"])
    check(one, "delete_identity", Response(0), ANY)

    assert check(one, "delete_identity", NOT_FOUND) == ""
    assert one.state is State.NOTHING
    assert (one.tokens, one.dead_tokens) == ([], ["t"])


def test_failed_request_is_repeated_until_faults_are_over() -> None:
    """A failed request may still take effect after its retry succeeds, so it stays pending."""
    one = user(State.DELETED, pending="restore_identity")
    one.check(one.next_request(RANDOM), problem(503, "acs_unavailable"), ANY)
    one.check(one.next_request(RANDOM), success(200, **LISTED), ANY)

    assert one.next_request(RANDOM).operation == "restore_identity"


@pytest.mark.parametrize(
    ("response", "pending"),
    [(success(200, **LISTED), ""), (problem(503, "acs_unavailable"), "restore_identity")],
    ids=["known", "unknown"],
)
def test_request_is_pending_until_its_result_is_known(response: Response, pending: str) -> None:
    """When the faults are over, a known result is final."""
    one = user(State.DELETED, pending="restore_identity")
    one.check(one.next_request(RANDOM), response, ANY)

    one.faults_are_over()

    assert one.pending == pending


@pytest.mark.parametrize(
    ("operation", "response"),
    [
        ("revoke_tokens", NO_BODY),
        ("delete_identity", DELETION),
        ("suspend_identity", success(200, **SUSPENDED)),
    ],
)
def test_revoked_tokens_are_dead(operation: str, response: Response) -> None:
    """After a revocation, a deletion or a suspension no earlier token may work."""
    one = user(State.ACTIVE, tokens=["s", "t"])

    check(one, operation, response)

    assert (one.tokens, one.dead_tokens) == ([], ["s", "t"])


def test_token_of_a_deleted_identity_is_dead() -> None:
    """A token that is issued while the identity is purged is right only if it does not work."""
    one = user(State.DELETED)

    assert check(one, "issue_token", success(200, id=ID, token="t")) == ""
    assert (one.tokens, one.dead_tokens) == ([], ["t"])


def test_suspension_survives_a_deletion() -> None:
    """The restore of an identity that was suspended before must not make it active."""
    one = user(State.SUSPENDED)
    check(one, "delete_identity", DELETION)

    assert check(one, "restore_identity", success(200, **LISTED)) != ""
    assert check(one, "restore_identity", success(200, **SUSPENDED)) == ""
    assert one.state is State.SUSPENDED


def test_next_identity_is_not_suspended() -> None:
    """A suspension ends with its identity."""
    one = user(State.SUSPENDED)
    check(one, "delete_identity", DELETION)
    check(one, "create_identity", success(201, id=OTHER))

    assert check(one, "get_identity", success(200, **{**LISTED, "id": OTHER})) == ""


@pytest.mark.parametrize("state", [State.NOTHING, State.DELETED])
def test_creation_meets_a_purge_once(state: State) -> None:
    """A purge that releases the user makes one creation fail; a second failure is wrong."""
    one = user(state)

    assert check(one, "create_identity", BUSY) == ""
    assert check(one, "create_identity", BUSY) != ""


def test_next_identity_may_meet_its_purge() -> None:
    """Each identity has a purge of its own."""
    one = user(State.DELETED, met_purge=True)
    check(one, "create_identity", success(201, id=OTHER))
    check(one, "delete_identity", DELETION)

    assert check(one, "create_identity", BUSY) == ""


@pytest.mark.parametrize("operation", ["purge_identity", "revoke_tokens", "issue_token"])
def test_identity_that_acs_has_lost_is_gone(operation: str) -> None:
    """A purge has deleted it, and its response was lost. ACS must confirm that it is gone."""
    one = user(State.DELETED)

    assert check(one, operation, UNAVAILABLE) == ""
    assert (one.state, one.gone) == (State.NOTHING, [ID])


def test_deletion_may_find_that_the_identity_is_gone() -> None:
    """A sweep may have purged it after a deletion whose result was unknown."""
    one = user(State.ACTIVE, tokens=["t"], pending="delete_identity", is_known=False)
    wrong = one.check(one.next_request(RANDOM), UNAVAILABLE, ())

    assert (wrong, one.state, one.gone) == ("", State.NOTHING, [ID])
    assert (one.dead_tokens, one.pending) == (["t"], "")


def test_failure_during_a_fault_proves_nothing() -> None:
    """A purge that fails while ACS fails may have left the identity in ACS."""
    one = user(State.DELETED)

    assert check(one, "purge_identity", UNAVAILABLE, {503}) == ""
    assert (one.gone, one.pending) == ([], "purge_identity")
