"""Fault injection: what the client receives, and whether the operation runs."""

import http.client
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from local.acs.contract import Operation
from local.acs.faults import Drop, FaultInjector
from local.acs.tokens import Signer
from local.entra import ACS_AUDIENCE
from tests.local.acs.support import CREATE, EmulatorClient, Response
from tests.support.waiting import wait_until

DISCONNECTED = (ConnectionError, ssl.SSLError)


def _create(acs: EmulatorClient) -> Response:
    return acs.signed("POST", CREATE)


def _in_flight(acs: EmulatorClient) -> int:
    return int(acs.control("GET", "/counts").document["inFlight"]["now"])


def send_and_disconnect(acs: EmulatorClient) -> None:
    """Send a request to create an identity, and disconnect once it has arrived."""
    connection = http.client.HTTPSConnection("localhost", acs.port, context=acs.tls)
    token = acs.issuer.sign(ACS_AUDIENCE, 60)
    connection.request("POST", CREATE, headers={"Authorization": f"Bearer {token}"})
    wait_until(lambda: acs.counts("create")[0] == 1)
    connection.close()


@contextmanager
def hanging(acs: EmulatorClient, requests: int = 1) -> Iterator[list[Future[Response]]]:
    """Send requests that a fault keeps waiting."""
    with ThreadPoolExecutor() as threads:
        sent = [threads.submit(_create, acs) for _ in range(requests)]
        wait_until(lambda: _in_flight(acs) == requests)
        yield sent


def test_a_status_replaces_the_response(acs: EmulatorClient) -> None:
    """The response has an error body and the common headers."""
    acs.add_fault(kind="status", status=503, code="ServiceUnavailable", message="Later.")

    response = _create(acs)

    assert response.error == (503, "ServiceUnavailable", "Later.", None)
    assert response.headers["MS-CV"]


@pytest.mark.parametrize("retry_after", [3600, "Fri, 31 Dec 2027 23:59:59 GMT", None])
def test_a_status_can_have_retry_after(acs: EmulatorClient, retry_after: int | str | None) -> None:
    """Retry-After is in seconds or an HTTP date. By default there is none."""
    acs.add_fault(kind="status", status=429, **({"retryAfter": retry_after} if retry_after else {}))

    assert _create(acs).headers["Retry-After"] == (retry_after and str(retry_after))


@pytest.mark.parametrize(
    ("body", "content", "content_type"),
    [("html", b"<!DOCTYPE html><title>502</title>", "text/html"), ("empty", b"", None)],
)
def test_a_status_can_look_like_a_gateways(
    acs: EmulatorClient, body: str, content: bytes, content_type: str | None
) -> None:
    """The body can be an HTML page or empty."""
    acs.add_fault(kind="status", status=502, body=body)

    response = _create(acs)

    assert (response.content, response.headers["Content-Type"]) == (content, content_type)


@pytest.mark.parametrize(("when", "effects"), [("before", 0), ("after", 1)])
def test_a_fault_applies_before_or_after_the_operation(
    acs: EmulatorClient, when: str, effects: int
) -> None:
    """The client cannot see from a status or a dropped connection whether the operation ran."""
    acs.add_fault(kind="status", status=500, when=when, times=1)
    acs.add_fault(kind="drop", when=when)

    assert _create(acs).status == 500
    assert acs.counts("create") == (1, effects)
    with pytest.raises(DISCONNECTED):
        _create(acs)
    assert acs.counts("create") == (2, effects * 2)


def test_half_a_response_is_shorter_than_its_content_length(acs: EmulatorClient) -> None:
    """The operation ran, but the client cannot read the result."""
    acs.add_fault(kind="half")

    with pytest.raises(http.client.IncompleteRead) as incomplete:
        _create(acs)

    assert incomplete.value.partial.startswith(b'{"identity":')
    assert acs.counts("create") == (1, 1)


def test_half_of_an_empty_response_is_a_dropped_connection(acs: EmulatorClient) -> None:
    """A 204 has no body to cut. The operation ran."""
    identity_id = acs.create()
    acs.add_fault(kind="half", operation="delete")

    with pytest.raises(DISCONNECTED):
        acs.delete(identity_id)

    assert acs.state(identity_id)["state"] == "deleted"


def test_a_token_can_be_signed_with_an_unknown_key(acs: EmulatorClient) -> None:
    """Tokens have an invalid signature. Responses without a token are unchanged."""
    acs.add_fault(kind="unknownKey")

    identity_id = acs.create()
    created = acs.signed("POST", CREATE, {"createTokenWithScopes": ["voip"]}).document

    for issued in (created["accessToken"], acs.issue(identity_id).document):
        assert acs.verify(issued["token"])["reason"] == "signature"
    assert acs.delete(identity_id).status == 204


@pytest.mark.parametrize(
    ("fault", "status"), [({"kind": "delay"}, 201), ({"kind": "status", "status": 503}, 503)]
)
def test_a_fault_can_be_delayed(acs: EmulatorClient, fault: dict[str, object], status: int) -> None:
    """A normal response and a 503 can both be late."""
    acs.add_fault(**fault, delaySeconds=0.1)
    started = time.monotonic()

    response = _create(acs)

    assert response.status == status
    assert time.monotonic() - started >= 0.1


def test_a_delayed_operation_runs_after_the_client_disconnected(acs: EmulatorClient) -> None:
    """The operation runs late, and nobody receives the response."""
    acs.add_fault(kind="delay", delaySeconds=0.2, times=1)

    send_and_disconnect(acs)

    wait_until(lambda: acs.counts("create") == (1, 1))


@pytest.mark.parametrize(("when", "effects"), [("before", 0), ("after", 1)])
def test_a_request_can_hang_before_or_after_the_operation(
    acs: EmulatorClient, when: str, effects: int
) -> None:
    """The operation does not run after the client disconnected."""
    acs.add_fault(kind="hang", when=when)

    send_and_disconnect(acs)
    wait_until(lambda: _in_flight(acs) == 0)

    assert acs.counts("create") == (1, effects)


@pytest.mark.parametrize("path", ["/faults", "/faults/{id}"])
def test_clearing_a_fault_continues_hanging_requests(acs: EmulatorClient, path: str) -> None:
    """They receive the normal response."""
    fault = acs.add_fault(kind="hang")

    with hanging(acs) as [request]:
        acs.control("DELETE", path.format(**fault))

        assert request.result(timeout=10).status == 201


def test_reset_drops_hanging_requests(acs: EmulatorClient) -> None:
    """Their operations do not run after the reset."""
    acs.add_fault(kind="hang")

    with hanging(acs) as [request]:
        acs.control("POST", "/reset")

        with pytest.raises(DISCONNECTED):
            request.result(timeout=10)
    assert acs.control("GET", "/identities").document["identities"] == []


def test_requests_in_flight_are_counted(acs: EmulatorClient) -> None:
    """The peak is the highest number at the same time."""
    acs.add_fault(kind="hang")

    with hanging(acs, requests=3) as requests:
        acs.control("DELETE", "/faults")
        assert [request.result(timeout=10).status for request in requests] == [201] * 3

    assert acs.control("GET", "/counts").document["inFlight"] == {"now": 0, "peak": 3}


def test_clearing_one_fault_keeps_the_others(acs: EmulatorClient) -> None:
    """A fault is cleared by its id."""
    cleared, kept = acs.add_fault(kind="drop"), acs.add_fault(kind="drop")

    acs.control("DELETE", f"/faults/{cleared['id']}")

    assert acs.control("GET", "/faults").document == {"faults": [kept]}


def test_a_fault_affects_some_requests_of_its_operation(acs: EmulatorClient) -> None:
    """`operation` selects them, `times` limits their number, and `affected` counts them."""
    acs.add_fault(kind="status", status=500, operation="issue", times=2)

    identity_id = acs.create()

    assert [acs.issue(identity_id).status for _ in range(3)] == [500, 500, 200]
    assert acs.control("GET", "/faults").document["faults"][0]["affected"] == 2


@pytest.fixture(scope="module")
def signer() -> Signer:
    """A signer. Its key takes 100 ms to generate."""
    return Signer("resource")


def test_one_fault_affects_a_request(signer: Signer) -> None:
    """It is the oldest one that matches. The next fault affects the next request."""
    faults = FaultInjector(signer)
    first, second = faults.add(Drop(times=1)), faults.add(Drop(times=1))

    matches = [faults.match(Operation.CREATE) for _ in range(3)]

    assert matches == [first, second, None]


def affected(signer: Signer, *, seed: int, share: float) -> list[bool]:
    """Which of a thousand requests a fault affects."""
    faults = FaultInjector(signer)
    faults.add(Drop(share=share, seed=seed))
    return [faults.match(Operation.CREATE) is not None for _ in range(1000)]


def test_the_seed_selects_the_requests(signer: Signer) -> None:
    """The same seed affects the same requests, another seed affects others."""
    assert affected(signer, seed=1, share=0.5) == affected(signer, seed=1, share=0.5)
    assert affected(signer, seed=1, share=0.5) != affected(signer, seed=2, share=0.5)


@pytest.mark.parametrize(
    ("share", "least", "most"), [(0.0, 0, 0), (0.3, 250, 350), (1.0, 1000, 1000)]
)
def test_a_fault_affects_a_share_of_the_requests(
    signer: Signer, share: float, least: int, most: int
) -> None:
    """The shares 0 and 1 are exact, others hold approximately."""
    assert least <= sum(affected(signer, seed=1, share=share)) <= most
