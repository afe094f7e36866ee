"""The refreshers in Python and JavaScript, called in the same way, with a service that fails."""

import json
import time

import pytest

from tests.cli.service import KEY, Answer, problem
from tests.examples.conftest import HOUR, WITH_TOKEN, Driver, FaultyService, jwt

USER = "alice"
# Seconds after which a token that is valid for an hour is due, and has expired.
DUE, EXPIRED = 50 * 60, HOUR
UNAVAILABLE = Answer(503)
REFUSED = [400, 401, 403, 404, 409, 413]


def error(status: int, code: str = "", retry_after: int | None = None) -> dict[str, object]:
    """Returns the error that a caller gets."""
    return {"status": status, "code": code, "retryAfter": retry_after}


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_temporary_error_is_retried_with_growing_pauses(
    driver: Driver, service: FaultyService, status: int
) -> None:
    """After one second, two, and four. Up to a quarter of the time is added."""
    service.answers.extend([Answer(status)] * 3)

    [token] = driver.get(USER)

    assert isinstance(token, str)
    pauses = driver.do("slept")
    assert [1 <= pause / usual <= 1.25 for pause, usual in zip(pauses, (1, 2, 4), strict=True)]


def test_a_slash_at_the_end_of_the_url_is_ignored(driver: Driver, service: FaultyService) -> None:
    """People copy the URL from a browser."""
    driver.do("new", f"{service.url}/", KEY, "", {})

    driver.get(USER)

    assert [each.path for each in service.received] == [WITH_TOKEN]


def test_a_broken_connection_is_retried(driver: Driver, service: FaultyService) -> None:
    """It counts as a temporary error."""
    service.answers.append(Answer(drops=True))

    [token] = driver.get(USER)

    assert isinstance(token, str)


@pytest.mark.parametrize("status", [429, 503, 409])
def test_retry_after_is_obeyed(driver: Driver, service: FaultyService, status: int) -> None:
    """The next attempt comes after so many seconds, whatever the status is."""
    service.answers.append(problem(status, "wait", retry_after=7))

    [token] = driver.get(USER)

    assert isinstance(token, str)
    assert driver.do("slept") == [7]


def test_a_long_retry_after_is_obeyed_by_later_calls(
    driver: Driver, service: FaultyService
) -> None:
    """Until then, each call fails at once, without a request."""
    service.answers.append(problem(429, "throttled", retry_after=30))
    first, second = driver.get(USER, USER)
    requests = service.requests
    driver.do("advance", 31)

    [third] = driver.get(USER)

    assert first == second == error(429, "throttled", 30)
    assert requests == 1
    assert isinstance(third, str)


@pytest.mark.parametrize("status", REFUSED)
def test_a_refused_request_is_not_retried(
    driver: Driver, service: FaultyService, status: int
) -> None:
    """The caller gets the error. The next call asks again."""
    service.answers.append(problem(status, "no"))

    refused, token = driver.get(USER, USER)

    assert refused == error(status, "no")
    assert driver.do("slept") == []
    assert isinstance(token, str)


def test_a_valid_token_is_kept_until_it_expires(driver: Driver, service: FaultyService) -> None:
    """While the service fails, callers get the last token. Then they get the error."""
    [first] = driver.get(USER)
    driver.do("advance", DUE + 1)
    service.answers.extend([UNAVAILABLE] * 100)
    [due] = driver.get(USER)
    driver.do("advance", EXPIRED - DUE - 60)
    [almost] = driver.get(USER)
    driver.do("advance", 60)

    [expired] = driver.get(USER)

    assert first == due == almost
    assert expired["status"] == 503


@pytest.mark.parametrize("status", [400, 401, 403, 413, 429, 503])
def test_an_error_that_is_not_the_users_keeps_the_token(
    driver: Driver, service: FaultyService, status: int
) -> None:
    """For example 401: the service does not accept the server's key."""
    [first] = driver.get(USER)
    driver.do("advance", DUE + 1)
    service.answers.append(Answer(status))

    assert driver.get(USER) == [first]


def test_nobody_waits_while_a_token_is_valid(driver: Driver, service: FaultyService) -> None:
    """There is one attempt, without a pause, and the others get the token without a request."""
    [first] = driver.get(USER)
    driver.do("advance", DUE + 1)
    service.answers.extend([UNAVAILABLE] * 100)

    tokens = driver.get(USER, USER, USER)

    assert tokens == [first] * 3
    assert driver.do("slept") == []
    assert service.requests == 2


def test_refreshing_backs_off(driver: Driver, service: FaultyService) -> None:
    """While a token is valid, pauses between two attempts grow up to a minute and a quarter."""
    driver.get(USER)
    driver.do("advance", DUE + 1)
    service.answers.extend([UNAVAILABLE] * 100)
    for _ in range(500):
        driver.get(USER)
        driver.do("advance", 1)

    # 1 + 2 + 4 + 8 + 16 + 32 + 60 + 60 + … seconds
    assert 11 <= service.requests <= 15


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "identity_gone"), (409, "identity_deleted"), (409, "identity_suspended")],
)
def test_a_blocked_user_loses_the_token(
    driver: Driver, service: FaultyService, status: int, code: str
) -> None:
    """The service has revoked it."""
    driver.get(USER)
    driver.do("advance", DUE + 1)
    service.answers.append(problem(status, code))

    assert driver.get(USER) == [error(status, code)]


def test_a_forgotten_token_is_not_used_again(driver: Driver, service: FaultyService) -> None:
    """The next call requests another one."""
    [first] = driver.get(USER)

    driver.do("forget", USER)

    assert driver.get(USER) != [first]


def test_a_request_under_way_does_not_bring_a_forgotten_token_back(
    driver: Driver, service: FaultyService
) -> None:
    """Its token may be from before a revocation."""
    service.open.clear()
    driver.do("start", USER)
    service.wait_for(WITH_TOKEN)
    driver.do("forget", USER)
    service.open.set()
    [old] = driver.do("finish")

    [new] = driver.get(USER)

    assert new != old


def test_many_callers_share_one_request(driver: Driver, service: FaultyService) -> None:
    """All get its token."""
    service.open.clear()
    driver.do("start", *[USER] * 20)
    service.wait_for(WITH_TOKEN)
    service.open.set()

    tokens = driver.do("finish")

    assert len(set(tokens)) == 1
    assert service.requests == 1


def test_many_callers_share_one_failure(driver: Driver, service: FaultyService) -> None:
    """They do not try one after the other."""
    service.answers.extend([UNAVAILABLE] * 100)
    service.open.clear()
    driver.do("start", *[USER] * 20)
    service.wait_for(WITH_TOKEN)
    service.open.set()

    results = driver.do("finish")

    assert [each["status"] for each in results] == [503] * 20
    assert service.requests == 4


def test_callers_keep_a_valid_token_during_a_refresh(
    driver: Driver, service: FaultyService
) -> None:
    """They do not wait for the next one, which takes 20 seconds."""
    [first] = driver.get(USER)
    driver.do("advance", DUE + 1)
    service.open.clear()
    driver.do("start", USER)
    service.wait_for(WITH_TOKEN, 2)
    started = time.perf_counter()

    [second] = driver.get(USER)

    assert second == first
    assert time.perf_counter() - started < 15


def test_users_do_not_wait_for_each_other(driver: Driver, service: FaultyService) -> None:
    """Each user has a request of their own."""
    service.open.clear()
    driver.do("start", "alice", "bob")

    service.wait_for(WITH_TOKEN, 2)

    service.open.set()
    assert len(set(driver.do("finish"))) == 2


def test_only_so_many_users_are_kept(driver: Driver, service: FaultyService) -> None:
    """The user who asked least recently is dropped."""
    driver.create(service, users=2)
    alice, _, _, _ = driver.get("alice", "bob", "alice", "carol")

    assert driver.get("alice") == [alice]
    driver.get("bob")
    assert service.requests == 4


def test_attempts_are_limited(driver: Driver, service: FaultyService) -> None:
    """After the last one, the caller gets the error."""
    driver.create(service, attempts=2)
    service.answers.extend([UNAVAILABLE] * 100)

    driver.get(USER)

    assert service.requests == 2


@pytest.mark.parametrize("drips", [False, True])
def test_time_is_limited(driver: Driver, service: FaultyService, drips: bool) -> None:
    """Also if the service does not respond, or sends a byte now and then."""
    driver.create(service, seconds=0.5, attempts=1)
    service.answers.append(Answer(drips=True))
    if not drips:
        service.open.clear()
    started = time.perf_counter()

    assert driver.get(USER) == [error(0)]
    assert time.perf_counter() - started < 30


def test_the_size_of_a_response_is_limited(driver: Driver, service: FaultyService) -> None:
    """A longer one is an error."""
    driver.create(service, attempts=1)
    service.answers.append(Answer(200, json.dumps(service.issue(USER)).encode() + b" " * 70_000))

    assert driver.get(USER) == [error(0)]


@pytest.mark.parametrize("body", [None, b"<html>", b"{}", b"[]", b'{"token": "a.b.c"}'])
def test_a_response_that_is_not_a_token_is_an_error(
    driver: Driver, service: FaultyService, body: bytes | None
) -> None:
    """A proxy may send such a response."""
    driver.create(service, attempts=1)
    service.answers.append(Answer(200, body))

    assert driver.get(USER) == [error(0)]


@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_is_not_followed(driver: Driver, service: FaultyService, status: int) -> None:
    """It could lead to another server, which would get the key."""
    service.answers.append(Answer(status, headers={"Location": f"{service.url}/api/other"}))

    assert driver.get(USER) == [error(status)]
    assert len(service.received) == 1


def test_a_credential_that_fails_keeps_the_token(driver: Driver, service: FaultyService) -> None:
    """For example while Entra is not available."""
    [first] = driver.get(USER)
    driver.do("advance", DUE + 1)

    driver.do("break_credential")

    assert driver.get(USER) == [first]


# Python has one for threads and one for `async`.
each_credential = pytest.mark.parametrize(
    ("started_driver", "credential"),
    [("python", "credential"), ("python", "async_credential"), ("node", "credential")],
    indirect=["started_driver"],
)


@each_credential
@pytest.mark.parametrize("proactive", [False, True])
def test_microsofts_credential_refreshes(
    driver: Driver, service: FaultyService, credential: str, proactive: bool
) -> None:
    """A token that expires is replaced by that of the refresher, which it takes unchanged."""
    # Python's refresh two minutes before; with an expired token, the one with async can hang.
    old = jwt(time.time() + (60 if driver.name == "python" else -1))

    token = driver.do(credential, USER, old, proactive)

    assert [token] == driver.get(USER)


@each_credential
@pytest.mark.parametrize("proactive", [False, True])
def test_microsofts_credential_keeps_a_valid_token(
    driver: Driver, service: FaultyService, credential: str, proactive: bool
) -> None:
    """While the service fails, it has the last token until it expires."""
    service.lifetime = 100
    [first] = driver.get(USER)
    driver.do("advance", 51)
    service.answers.extend([UNAVAILABLE] * 100)

    assert driver.do(credential, USER, first, proactive) == first


@pytest.mark.parametrize("started_driver", ["node"], indirect=True)
def test_an_aborted_caller_does_not_abort_the_others(driver: Driver) -> None:
    """They share the request. Python's credentials abort nothing."""
    aborted, other = driver.do("abort", USER)

    assert aborted == "AbortError"
    assert other.startswith("e30.")
