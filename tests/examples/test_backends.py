"""The backends in Python and JavaScript: an app's own users, and what they get."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cli.service import Answer, problem
from tests.examples.conftest import (
    IDENTITIES,
    NEW_PASSWORD,
    PASSWORD,
    WITH_TOKEN,
    Alice,
    Backend,
    FaultyService,
)

# Too long for the backend to wait, so that it gives up at once.
LATER = problem(503, "overloaded", retry_after=99)


@pytest.fixture
def service(backend: Backend) -> Iterator[FaultyService]:
    """The identity service, without the requests of other tests."""
    backend.service.received.clear()
    yield backend.service
    backend.service.answers.clear()
    backend.service.open.set()


@pytest.fixture
def phone(backend: Backend, alice: Alice) -> Alice:
    """The same user, signed in on another device."""
    user = Alice(backend.client, alice.name)
    user.sign_in()
    return user


def revocations(service: FaultyService) -> int:
    """The number of revocations that the service has received."""
    return len([path for path in service.calls("DELETE") if path.endswith("/tokens")])


def test_a_signed_in_user_gets_a_token(alice: Alice, service: FaultyService) -> None:
    """With the id of the user's identity."""
    response = alice.call("POST", "/token").json()

    assert response["id"] in service.identities
    assert response["token"].startswith("e30.")


def test_the_token_is_reused(alice: Alice, phone: Alice, service: FaultyService) -> None:
    """Also on another device."""
    assert alice.token() == phone.token()
    assert service.requests == 1


def test_without_signing_in_there_is_no_token(backend: Backend, service: FaultyService) -> None:
    """The identity service is not called."""
    response = Alice(backend.client, "eve").call("POST", "/token")

    assert response.status_code == 401
    assert service.received == []


@pytest.mark.parametrize("name", ["alice", "nobody"])
def test_a_wrong_password_is_refused(alice: Alice, name: str) -> None:
    """Like the name of a user who does not exist."""
    alice.name = alice.name if name == "alice" else name

    response = alice.sign_in("wrong")

    assert response.status_code == 401
    assert response.json() == {"error": "The name or the password is wrong"}


def test_a_name_is_taken_once(alice: Alice) -> None:
    """Otherwise the second user would be the first."""
    response = alice.call("POST", "/users", name=alice.name, password="another")

    assert response.status_code == 409


def test_the_service_does_not_get_the_name(alice: Alice, service: FaultyService) -> None:
    """The user has an id of its own, because another user can have the name later."""
    alice.token()

    assert alice.name not in str(service.received[-1].body)


def test_the_session_cookie_is_protected(alice: Alice) -> None:
    """Scripts cannot read it, other sites cannot use it, and it is only sent with HTTPS."""
    cookie = alice.sign_in().headers["Set-Cookie"]

    assert {"HttpOnly", "Secure", "SameSite=Strict"} < set(cookie.split("; "))


def test_responses_are_not_cached(alice: Alice) -> None:
    """They contain tokens."""
    assert alice.call("POST", "/token").headers["Cache-Control"] == "no-store"


def test_changing_the_password_revokes_the_tokens(alice: Alice, service: FaultyService) -> None:
    """The next token is another one."""
    old = alice.token()

    assert alice.change_password().status_code == 204
    assert revocations(service) == 1
    assert alice.token() != old


def test_changing_the_password_ends_other_sessions(alice: Alice, phone: Alice) -> None:
    """Whoever knows the old password can no longer use it."""
    alice.change_password()

    assert alice.call("POST", "/token").status_code == 200
    assert phone.call("POST", "/token").status_code == 401
    assert phone.sign_in(PASSWORD).status_code == 401
    assert phone.sign_in(NEW_PASSWORD).status_code == 201


def test_changing_the_password_needs_the_old_one(alice: Alice, service: FaultyService) -> None:
    """Otherwise nothing changes."""
    alice.token()

    assert alice.change_password("wrong").status_code == 401
    assert revocations(service) == 0
    assert alice.sign_in(PASSWORD).status_code == 201


def test_a_user_without_an_identity_gets_none_when_the_password_changes(
    alice: Alice, service: FaultyService
) -> None:
    """There is nothing to revoke."""
    assert alice.change_password().status_code == 204
    assert service.received == []


def test_a_revocation_that_fails_is_repeated(alice: Alice, service: FaultyService) -> None:
    """The password has changed. The next token comes after the revocation."""
    alice.token()
    service.answers.append(LATER)
    assert alice.change_password().status_code == 202
    service.received.clear()

    alice.token()

    paths = [each.path.rpartition("/")[2] for each in service.received]
    assert paths == ["identities", "tokens", "with-token"]


def test_a_blocked_users_tokens_are_revoked_already(alice: Alice, service: FaultyService) -> None:
    """The password has changed, and nothing is left to do."""
    alice.token()
    service.answers.append(problem(409, "identity_suspended"))

    assert alice.change_password().status_code == 204


def test_there_is_no_token_before_the_revocation(alice: Alice, service: FaultyService) -> None:
    """Until the service has revoked the old tokens, there are no new ones."""
    alice.token()
    service.answers.extend([LATER, LATER])
    alice.change_password()

    assert alice.call("POST", "/token").status_code == 503


def test_the_last_sign_out_revokes_the_tokens(
    alice: Alice, phone: Alice, service: FaultyService
) -> None:
    """An earlier one does not, because the token belongs to all devices."""
    alice.token()

    assert alice.call("DELETE", "/session").status_code == 204
    assert alice.call("POST", "/token").status_code == 401
    assert revocations(service) == 0
    assert phone.call("DELETE", "/session").status_code == 204
    assert revocations(service) == 1


def test_signing_out_wins_over_a_request_under_way(alice: Alice, service: FaultyService) -> None:
    """Its token is not handed out: nothing would revoke it."""
    service.open.clear()
    with ThreadPoolExecutor() as pool:
        token = pool.submit(alice.call, "POST", "/token")
        service.wait_for(WITH_TOKEN)
        signed_out = pool.submit(alice.call, "DELETE", "/session")
        service.wait_for(IDENTITIES)
        service.open.set()

    assert token.result().status_code == 401
    assert signed_out.result().status_code == 204


def test_deleting_the_account_deletes_the_identity(alice: Alice, service: FaultyService) -> None:
    """The user cannot sign in any more."""
    identity = alice.call("POST", "/token").json()["id"]

    assert alice.call("DELETE", "/account").status_code == 204
    assert service.identities[identity]["state"] == "deleted"
    assert alice.call("POST", "/token").status_code == 401
    assert alice.sign_in().status_code == 401


def test_deleting_the_account_can_be_repeated(alice: Alice, service: FaultyService) -> None:
    """If the identity cannot be deleted, the user still exists: nothing is forgotten."""
    identity = alice.call("POST", "/token").json()["id"]
    service.answers.append(LATER)

    failed = alice.call("DELETE", "/account")

    assert (failed.status_code, failed.headers["Retry-After"]) == (503, "99")
    assert alice.call("DELETE", "/account").status_code == 204
    assert service.identities[identity]["state"] == "deleted"


def test_a_blocked_user_gets_403(alice: Alice, service: FaultyService) -> None:
    """The service has suspended or deleted the identity."""
    service.answers.append(problem(409, "identity_suspended"))

    assert alice.call("POST", "/token").status_code == 403


@pytest.mark.parametrize("answer", [Answer(401), problem(403, "not_allowed")])
def test_an_error_of_the_backend_is_not_the_users(
    alice: Alice, service: FaultyService, answer: Answer
) -> None:
    """A wrong key must not sign users out."""
    service.answers.append(answer)

    assert alice.call("POST", "/token").status_code == 503


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"{", 400), (b"[]", 400), (b"{}", 400), (b'{"name": 1}', 400), (b" " * 5000, 413)],
)
def test_an_invalid_body_is_refused(backend: Backend, content: bytes, status: int) -> None:
    """It needs the fields, as texts, in 4 KiB."""
    assert backend.client.post("/users", content=content).status_code == status


def test_other_paths_do_not_exist(backend: Backend) -> None:
    """404 for each."""
    assert backend.client.post("/other").status_code == 404
