"""How acsid talks HTTP: what it repeats, how long it waits, and where it sends the key."""

import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest
from acsid.client import Client, RateLimiter
from acsid.failures import Exit, Failure
from acsid.profile import Target

from tests.cli.conftest import Run
from tests.cli.service import KEY, Answer, Service, identity, problem

ID = identity(1)
DROPPED = Answer(drops=True)
DROPPED_AFTER = Answer(drops=True, acts=True)


def client(service: Service, patience: float = 20) -> Client:
    """Returns a client without a limit of its own."""
    return Client(Target(service.url, KEY), rate=0, patience=patience)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed(service: Service, status: int) -> None:
    """The next attempt comes after the seconds that the app asks for."""
    service.answers.append(problem(status, "busy", retry_after=1))
    started = time.monotonic()
    with client(service) as caller:
        answer = caller.call("GET", "ready")

    assert answer.status == 200
    assert time.monotonic() - started >= 1
    assert len(service.received) == 2


def test_retry_after_can_be_a_date(service: Service) -> None:
    """HTTP also allows a date there."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    service.answers.append(problem(503, "busy", retry_after=date))
    started = time.monotonic()
    with client(service) as caller:
        caller.call("GET", "ready")

    assert time.monotonic() - started > 0.9


def test_no_wait_that_is_longer_than_the_patience(acsid: Run, service: Service) -> None:
    """If the app asks for a longer wait, the command ends and says when to try again."""
    service.answers.append(problem(503, "registry_unavailable", retry_after=3600))
    started = time.monotonic()
    ended = acsid("list")

    assert ended.code == 4
    assert "Try again in 3600 s." in ended.errors
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("failure", [DROPPED, Answer(500), Answer(502), Answer(504)])
def test_a_failed_read_is_repeated(service: Service, failure: Answer) -> None:
    """A broken connection and a failure of the server are no reason to give up a read."""
    service.add(1)
    service.answers.append(failure)
    with client(service) as caller:
        content = caller.call("GET", f"identities/{ID}").content

    assert content["id"] == ID
    assert len(service.received) == 2


def test_invalid_settings_are_not_waited_for(acsid: Run, service: Service) -> None:
    """Settings do not correct themselves, so the command ends at once: exit code 4."""
    service.answers.append(problem(503, "not_configured", retry_after=1))
    ended = acsid("list", "--json")

    assert (ended.code, ended.error()["code"]) == (4, "not_configured")
    assert len(service.received) == 1


def test_a_failure_that_lasts_ends_the_command(service: Service) -> None:
    """After the patience, the failure is reported as one to try again."""
    service.answers.extend([Answer(503)] * 9)
    with client(service, patience=2) as caller, pytest.raises(Failure) as failure:
        caller.call("GET", "ready")

    assert failure.value.exit_code is Exit.NO_ANSWER


@pytest.mark.parametrize("failure", [DROPPED_AFTER, Answer(504, acts=True)], ids=["drop", "504"])
def test_a_creation_without_a_user_is_not_repeated(
    acsid: Run, service: Service, failure: Answer
) -> None:
    """Each request would create another identity, so an unknown result is reported."""
    service.answers.append(failure)
    ended = acsid("create")

    assert ended.code == 4
    assert "may have acted" in ended.errors
    assert len(service.identities) == 1


def test_a_throttled_creation_is_repeated(acsid: Run, service: Service) -> None:
    """429 means that nothing was created."""
    service.answers.append(problem(429, "throttled", retry_after=0))
    ended = acsid("create")

    assert ended.code == 0
    assert len(service.identities) == 1


def test_a_creation_for_a_user_is_repeated(acsid: Run, service: Service) -> None:
    """A user has one identity, so repeating the request is harmless."""
    service.answers.append(DROPPED_AFTER)
    ended = acsid("create", "--user", "alice", "--json")

    assert ended.code == 0
    assert len(service.identities) == 1


@pytest.mark.parametrize("command", ["purge", "unregister"])
def test_a_removal_whose_answer_was_lost_has_succeeded(
    acsid: Run, service: Service, command: str
) -> None:
    """If the repeated request finds nothing, the first one has removed it."""
    service.add(1)
    service.answers.append(DROPPED_AFTER)
    ended = acsid(command, ID, "--yes")

    assert ended.code == 0, ended.errors
    assert service.identities == {}


@pytest.mark.parametrize("command", ["purge", "unregister"])
def test_a_removal_that_finds_nothing_fails(acsid: Run, command: str) -> None:
    """Without a lost answer, nothing was removed: exit code 3."""
    ended = acsid(command, ID, "--yes")

    assert ended.code == 3


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(acsid: Run, service: Service, status: int) -> None:
    """The key is not sent to the address that a redirect names."""
    service.answers.append(Answer(status, headers={"Location": f"{service.url}/elsewhere"}))
    ended = acsid("list")

    assert ended.code == 1
    assert "redirects to" in ended.errors
    assert len(service.received) == 1


@pytest.mark.parametrize(
    "link",
    [
        "https://example.com/api/identities?continuation=1",
        "//example.com/api/identities",
        "http://user:secret@{host}/api/identities",
        "http://localhost:1/api/identities",
        "https://{host}/api/identities",
    ],
)
def test_the_next_page_is_on_the_same_origin(acsid: Run, service: Service, link: str) -> None:
    """A link to another origin is refused, because the key would be sent there."""
    link = link.replace("{host}", service.url.removeprefix("http://"))
    service.answers.append(Answer(200, {"value": [], "nextLink": link}))
    ended = acsid("list")

    assert ended.code == 1
    assert "link to the next page" in ended.errors
    assert len(service.received) == 1


@pytest.mark.parametrize("link", ["/api/identities?page=2", "{url}/api/identities?page=2"])
def test_an_empty_page_can_have_a_next_one(acsid: Run, service: Service, link: str) -> None:
    """A list goes on after an empty page; the link is relative or absolute."""
    service.add(1)
    link = link.replace("{url}", service.url)
    service.answers.append(Answer(200, {"value": [], "nextLink": link}))
    ended = acsid("list", "--json")

    assert [each["id"] for each in ended.lines()] == [ID]


def test_pages_in_a_circle_end(acsid: Run, service: Service) -> None:
    """A link back to a page that was already read does not make an endless list."""
    pages = [Answer(200, {"value": [], "nextLink": f"/api/identities?page={n}"}) for n in "1212"]
    service.answers.extend(pages)
    ended = acsid("list")

    assert ended.code == 1
    assert "already read" in ended.errors


@pytest.mark.parametrize(
    "body", [b"<html>", [1], {"value": 1}, {"value": [1]}, {"value": [{}]}, {}]
)
def test_something_else_answers(acsid: Run, service: Service, body: object) -> None:
    """An answer that is not the app's is reported as such."""
    service.answers.append(Answer(200, body))
    ended = acsid("list")

    assert ended.code == 1
    assert "Check ACSID_URL" in ended.errors


def test_an_address_without_an_app(acsid: Run, service: Service) -> None:
    """A 404 of the platform is not "not found": it means a wrong address or an older app."""
    service.answers.append(Answer(404))
    ended = acsid("find", ID)

    assert ended.code == 1
    assert "older than this acsid" in ended.errors


@pytest.mark.parametrize(
    "variable",
    [{"SSL_CERT_FILE": "/missing"}, {"SSL_CERT_FILE": __file__}, {"HTTPS_PROXY": "ftp://proxy"}],
)
def test_certificates_or_a_proxy_that_cannot_be_used(acsid: Run, variable: dict[str, str]) -> None:
    """A wrong variable is named, without a traceback: exit code 2."""
    ended = acsid("list", env={"ACSID_URL": "https://app.example", "ACSID_KEY": KEY, **variable})

    assert ended.code == 2
    assert next(iter(variable)) in ended.errors


def test_the_quota_is_used_up(acsid: Run, service: Service) -> None:
    """A failure with a hint of its own also says when to try again."""
    service.answers.append(problem(429, "throttled", retry_after=3600))
    ended = acsid("list")

    assert ended.code == 4
    assert "is used up. Try again in 3600 s." in ended.errors


def test_nothing_listens(acsid: Run) -> None:
    """If the first connection is refused, the command ends at once: exit code 4."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        started = time.monotonic()
        ended = acsid("list", env={"ACSID_URL": address, "ACSID_KEY": KEY})

    assert ended.code == 4
    assert "No connection to 127.0.0.1" in ended.errors
    assert "Check ACSID_URL" in ended.errors
    assert "Try again" not in ended.errors
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    "command", [["list"], ["deleted"], ["teams", "list"], ["teams", "soon"], ["teams", "check"]]
)
def test_a_command_without_a_file_waits_for_30_seconds(
    acsid: Run, service: Service, command: list[str]
) -> None:
    """A wait that would end later ends the command. Shorter ones are shown with their seconds."""
    service.answers.append(problem(503, "overloaded", detail="Full.", retry_after=0))
    service.answers.append(problem(503, "overloaded", detail="Full.", retry_after=31))
    ended = acsid(*command)

    assert ended.code == 4
    assert "Waiting 0 s: Overloaded: Full." in ended.errors
    assert "Try again in 31 s." in ended.errors


def test_no_proxy_gets_the_key_of_a_local_app(acsid: Run, service: Service) -> None:
    """An app on this machine is called directly, whatever proxies the environment names."""
    proxies = dict.fromkeys(("HTTP_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    ended = acsid("list", env={"ACSID_URL": service.url, "ACSID_KEY": KEY, **proxies})

    assert ended.code == 0, ended.errors


def test_requests_are_spaced() -> None:
    """The limiter lets the first request through and spaces the others."""
    limiter = RateLimiter(10)
    starts = [time.monotonic() + limiter.reserve() for _ in range(4)]

    assert all(after - before > 0.09 for before, after in pairwise(starts))


def test_the_client_limits_its_rate(service: Service) -> None:
    """Requests are sent at the rate of the client."""
    started = time.monotonic()
    with Client(Target(service.url, KEY), rate=10) as caller:
        for _ in range(6):
            caller.call("GET", "ready")

    assert time.monotonic() - started >= 0.5
