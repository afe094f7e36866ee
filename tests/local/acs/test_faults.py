"""Faults on demand: what the client sees of them, and what remains."""

import http.client
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from local.acs.faults import Drop, FaultPlan
from local.acs.messages import Operation
from tests.local.acs.served import VERSION, Reply, Served

CREATE = f"/identities?{VERSION}"


def create(acs: Served) -> Reply:
    """One attempt to create an identity."""
    return acs.signed("POST", CREATE)


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for a condition, ten seconds at most."""
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.005)


def in_flight(acs: Served) -> int:
    """How many calls are under way."""
    return int(acs.control("GET", "/counts").document["inFlight"]["now"])


def test_a_status_replaces_the_answer(acs: Served) -> None:
    """With the body of an error, and the headers of every answer."""
    acs.arm(kind="status", status=503, code="ServiceUnavailable", message="Later.")

    reply = create(acs)

    assert reply.error == (503, "ServiceUnavailable", "Later.", None)
    assert reply.headers["MS-CV"]


@pytest.mark.parametrize("retry_after", [3600, "Fri, 31 Dec 2027 23:59:59 GMT"])
def test_a_status_can_say_retry_after(acs: Served, retry_after: int | str) -> None:
    """In seconds or as a date."""
    acs.arm(kind="status", status=429, retryAfter=retry_after)

    assert create(acs).headers["Retry-After"] == str(retry_after)


def test_a_status_says_no_retry_after_unasked(acs: Served) -> None:
    """The service does not promise one."""
    acs.arm(kind="status", status=429)

    assert "Retry-After" not in create(acs).headers


@pytest.mark.parametrize(
    ("body", "content", "content_type"),
    [("html", b"<!DOCTYPE html><title>502</title>", "text/html"), ("empty", b"", None)],
)
def test_a_status_can_come_from_a_gateway(
    acs: Served, body: str, content: bytes, content_type: str | None
) -> None:
    """With a page for people, or with nothing."""
    acs.arm(kind="status", status=502, body=body)

    reply = create(acs)

    assert (reply.content, reply.headers["Content-Type"]) == (content, content_type)


@pytest.mark.parametrize(("when", "effects"), [("before", 0), ("after", 1)])
def test_a_status_comes_before_or_after_the_effect(acs: Served, when: str, effects: int) -> None:
    """An error does not tell whether anything happened."""
    acs.arm(kind="status", status=500, when=when)

    create(acs)

    assert acs.counts("create") == (1, effects)


@pytest.mark.parametrize(("when", "effects"), [("before", 0), ("after", 1)])
def test_a_dropped_connection_gives_no_answer(acs: Served, when: str, effects: int) -> None:
    """Nor does it tell whether anything happened."""
    acs.arm(kind="drop", when=when)

    with pytest.raises((ConnectionError, ssl.SSLError)):
        create(acs)

    assert acs.counts("create") == (1, effects)


def test_half_an_answer_is_shorter_than_promised(acs: Served) -> None:
    """The effect has happened; the client cannot read what it was."""
    acs.arm(kind="half")

    with pytest.raises(http.client.IncompleteRead) as cut:
        create(acs)

    assert cut.value.partial.startswith(b'{"identity":')
    assert acs.counts("create") == (1, 1)


def test_half_of_an_empty_answer_is_a_dropped_connection(acs: Served) -> None:
    """A 204 has no body to be cut."""
    identity_id = acs.create()
    acs.arm(kind="half", operation="delete")

    with pytest.raises((ConnectionError, ssl.SSLError)):
        acs.delete(identity_id)

    assert acs.control("GET", f"/identities/{identity_id}").document["state"] == "deleted"


def test_a_token_can_be_signed_with_an_unknown_key(acs: Served) -> None:
    """It looks right in all but its signature."""
    identity_id = acs.create()
    acs.arm(kind="unknownKey")

    token = acs.issue(identity_id).document["token"]

    assert acs.verify(token)["reason"] == "signature"


def test_the_token_of_a_new_identity_can_be_signed_with_an_unknown_key(acs: Served) -> None:
    """Wherever an answer carries a token."""
    acs.arm(kind="unknownKey")

    created = acs.signed("POST", CREATE, {"createTokenWithScopes": ["voip"]}).document

    assert acs.verify(created["accessToken"]["token"])["reason"] == "signature"


def test_answers_without_a_token_are_not_forged(acs: Served) -> None:
    """There is nothing to sign in them."""
    acs.arm(kind="unknownKey")

    identity_id = acs.create()

    assert acs.delete(identity_id).status == 204


def test_a_delayed_answer_is_the_right_one(acs: Served) -> None:
    """Late by what was asked for."""
    acs.arm(kind="delay", delaySeconds=0.1)
    started = time.monotonic()

    reply = create(acs)

    assert reply.status == 201
    assert time.monotonic() - started >= 0.1


def test_any_fault_can_be_late(acs: Served) -> None:
    """A slow 503 is slow, and a 503."""
    acs.arm(kind="status", status=503, delaySeconds=0.1)
    started = time.monotonic()

    assert create(acs).status == 503
    assert time.monotonic() - started >= 0.1


def test_a_client_that_leaves_a_delayed_call_does_not_undo_it(acs: Served) -> None:
    """The call is executed late, and nobody hears of it."""
    acs.arm(kind="delay", delaySeconds=0.2, times=1)

    give_up(acs)

    wait_until(lambda: acs.counts("create") == (1, 1))


def test_a_client_that_leaves_a_hanging_call_prevents_it(acs: Served) -> None:
    """The call ends without an effect."""
    acs.arm(kind="hang")

    give_up(acs)
    wait_until(lambda: in_flight(acs) == 0)

    assert acs.counts("create") == (1, 0)


def test_a_hanging_call_can_have_had_its_effect(acs: Served) -> None:
    """Only the answer is missing."""
    acs.arm(kind="hang", when="after")

    give_up(acs)

    wait_until(lambda: acs.counts("create") == (1, 1))


def give_up(acs: Served) -> None:
    """Send a call, and leave without waiting for its answer."""
    context = ssl.create_default_context(cafile=str(acs.ca_file))
    connection = http.client.HTTPSConnection("localhost", acs.port, context=context)
    token = acs.issuer.sign("https://communication.azure.com", 60)
    connection.request("POST", CREATE, headers={"Authorization": f"Bearer {token}"})
    wait_until(lambda: acs.counts("create")[0] == 1)
    connection.close()


@pytest.mark.parametrize("path", ["/faults", "/faults/{id}"])
def test_clearing_lets_hanging_calls_go_on(acs: Served, path: str) -> None:
    """They are answered as if nothing had been."""
    fault = acs.arm(kind="hang")

    with ThreadPoolExecutor() as threads:
        hanging = threads.submit(create, acs)
        wait_until(lambda: in_flight(acs) == 1)
        acs.control("DELETE", path.format(**fault))

        assert hanging.result(timeout=10).status == 201


def test_reset_drops_hanging_calls(acs: Served) -> None:
    """What was asked before does not happen after."""
    acs.arm(kind="hang")

    with ThreadPoolExecutor() as threads:
        hanging = threads.submit(create, acs)
        wait_until(lambda: in_flight(acs) == 1)
        acs.control("POST", "/reset")

        with pytest.raises((ConnectionError, ssl.SSLError)):
            hanging.result(timeout=10)
    assert acs.control("GET", "/identities").document["identities"] == []


def test_clearing_one_fault_leaves_the_others(acs: Served) -> None:
    """Each has its id."""
    cleared, left = acs.arm(kind="drop"), acs.arm(kind="drop")

    acs.control("DELETE", f"/faults/{cleared['id']}")

    assert acs.control("GET", "/faults").document == {"faults": [left]}


def test_a_fault_that_is_not_there_cannot_be_cleared(acs: Served) -> None:
    """It was cleared before, or never armed."""
    assert acs.control("DELETE", "/faults/999999").status == 404


def test_a_fault_strikes_as_often_as_asked(acs: Served) -> None:
    """The next n calls, and no more; the list tells how many it has struck."""
    acs.arm(kind="status", status=500, times=2)

    assert [create(acs).status for _ in range(3)] == [500, 500, 201]
    assert acs.control("GET", "/faults").document["faults"][0]["struck"] == 2


def test_a_fault_strikes_its_operation_only(acs: Served) -> None:
    """The others go on undisturbed."""
    acs.arm(kind="status", status=500, operation="issue")

    identity_id = acs.create()

    assert acs.issue(identity_id).status == 500


def test_the_first_fault_that_strikes_is_the_only_one() -> None:
    """One call meets one fault; the next is left for the next call."""
    plan = FaultPlan()
    first, second = plan.arm(Drop(times=1)), plan.arm(Drop(times=1))

    struck = [plan.strike(Operation.CREATE) for _ in range(3)]

    assert struck == [first, second, None]


def drawn(seed: int, share: float) -> list[bool]:
    """Which of a thousand calls a fault strikes."""
    plan = FaultPlan()
    plan.arm(Drop(share=share, seed=seed))
    return [plan.strike(Operation.CREATE) is not None for _ in range(1000)]


def test_a_share_of_the_calls_is_struck() -> None:
    """About as many as asked for."""
    assert 250 < sum(drawn(seed=1, share=0.3)) < 350


def test_a_seed_repeats_the_same_calls() -> None:
    """A run can be repeated, and varied."""
    assert drawn(seed=1, share=0.5) == drawn(seed=1, share=0.5)
    assert drawn(seed=1, share=0.5) != drawn(seed=2, share=0.5)


@pytest.mark.parametrize(("share", "struck"), [(0.0, 0), (1.0, 1000)])
def test_none_and_all_are_exact(share: float, struck: int) -> None:
    """A share of 0 strikes no call, one of 1 every call."""
    assert sum(drawn(seed=1, share=share)) == struck


def test_calls_under_way_are_counted(acs: Served) -> None:
    """The most at once is remembered."""
    acs.arm(kind="hang")

    with ThreadPoolExecutor() as threads:
        hanging = [threads.submit(create, acs) for _ in range(3)]
        wait_until(lambda: in_flight(acs) == 3)
        acs.control("DELETE", "/faults")
        assert [call.result(timeout=10).status for call in hanging] == [201] * 3

    assert acs.control("GET", "/counts").document["inFlight"] == {"now": 0, "peak": 3}
