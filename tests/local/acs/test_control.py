"""The control endpoint: access, inspection and reset."""

import pytest

from local.acs import CONTROL_HEADER, CONTROL_PREFIX
from tests.local.acs.conftest import Clock
from tests.local.acs.support import EmulatorClient


@pytest.mark.parametrize("headers", [{}, {CONTROL_HEADER: "wrong"}, {CONTROL_HEADER: "\xe9"}])
@pytest.mark.parametrize("path", ["/counts", "/unknown"])
def test_every_request_needs_the_key(
    acs: EmulatorClient, headers: dict[str, str], path: str
) -> None:
    """A missing or wrong key is 403, whether the path exists or not."""
    assert acs.send("GET", CONTROL_PREFIX + path, headers).status == 403


def test_preflights_are_refused(acs: EmulatorClient) -> None:
    """Without a preflight, a web page cannot send the header to another site."""
    headers = {
        "Origin": "https://example.com",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": CONTROL_HEADER,
    }

    response = acs.send("OPTIONS", f"{CONTROL_PREFIX}/reset", headers)

    assert response.status == 403
    assert not [name for name in response.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/unknown", None, 404),
        ("POST", "/counts", None, 405),
        ("OPTIONS", "/counts", None, 405),
        ("GET", "/identities/8:acs:unknown", None, 404),
        ("DELETE", "/faults/999999", None, 404),
        ("POST", "/keys/third", None, 404),
        ("PUT", "/quotas", {"windowSeconds": 0}, 400),
        ("POST", "/faults", {}, 400),
        ("POST", "/faults", {"kind": "flood"}, 400),
        ("POST", "/faults", {"kind": "drop", "when": "later"}, 400),
        ("POST", "/faults", {"kind": "drop", "operation": "list"}, 400),
        ("POST", "/faults", {"kind": "drop", "times": 0}, 400),
        ("POST", "/faults", {"kind": "drop", "share": 1.5}, 400),
        ("POST", "/faults", {"kind": "drop", "status": 503}, 400),
        ("POST", "/faults", {"kind": "status"}, 400),
        ("POST", "/faults", {"kind": "status", "status": 99}, 400),
    ],
)
def test_an_invalid_request_is_refused(
    acs: EmulatorClient, method: str, path: str, body: object, status: int
) -> None:
    """Unknown paths, ids, methods and fields, and values out of range, have an error in JSON."""
    assert acs.control(method, path, body).error[:2] == (status, "ControlError")


def test_identities_are_shown(acs: EmulatorClient) -> None:
    """The list has all identities with state and live tokens, oldest first. An id finds one."""
    active, deleted = acs.create(), acs.create()
    acs.issue(active)
    acs.issue(deleted)
    acs.delete(deleted)

    shown = acs.control("GET", "/identities").document

    identities = [
        {"id": active, "state": "active", "tokensAlive": 1},
        {"id": deleted, "state": "deleted", "tokensAlive": 0},
    ]
    assert shown == {"resourceId": acs.emulator.resource_id, "identities": identities}
    assert [acs.state(active), acs.state(deleted)] == identities


def test_expired_tokens_are_not_alive(acs: EmulatorClient, clock: Clock) -> None:
    """An expired token does not count as alive, even if it was not revoked."""
    identity_id = acs.create()
    acs.issue(identity_id)
    clock.offset = 24 * 60 * 60

    assert acs.state(identity_id)["tokensAlive"] == 0


def test_reset_removes_everything(acs: EmulatorClient) -> None:
    """A reset removes identities, counts, faults and quotas. Quotas are off by default."""
    acs.create()
    acs.add_fault(kind="drop", times=1)
    acs.control("PUT", "/quotas", {})

    acs.control("POST", "/reset")

    assert acs.control("GET", "/identities").document["identities"] == []
    assert acs.counts("create") == (0, 0)
    assert acs.control("GET", "/faults").document == {"faults": []}
    assert acs.control("GET", "/quotas").document["enforced"] is False
