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


def test_an_unknown_path_is_not_found(acs: EmulatorClient) -> None:
    """The error is JSON."""
    response = acs.control("GET", "/unknown")

    assert response.error[:2] == (404, "ControlError")


@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_another_method_is_not_allowed(acs: EmulatorClient, method: str) -> None:
    """A method that the path does not have is 405."""
    assert acs.control(method, "/counts").status == 405


def test_attempts_and_effects_are_counted(acs: EmulatorClient) -> None:
    """A refused request is an attempt without an effect."""
    acs.issue(acs.create())
    acs.issue("unknown")

    assert acs.counts("issue") == (2, 1)
    assert acs.counts("create") == (1, 1)
    assert acs.counts("revoke") == (0, 0)


def test_identities_are_listed(acs: EmulatorClient) -> None:
    """The list has all identities with state and live tokens, oldest first."""
    active, deleted = acs.create(), acs.create()
    acs.issue(active)
    acs.issue(deleted)
    acs.delete(deleted)

    shown = acs.control("GET", "/identities").document

    assert shown == {
        "resourceId": acs.emulator.resource_id,
        "identities": [
            {"id": active, "state": "active", "tokensAlive": 1},
            {"id": deleted, "state": "deleted", "tokensAlive": 0},
        ],
    }


def test_one_identity_is_shown(acs: EmulatorClient) -> None:
    """An identity is found by its id, which needs no encoding."""
    identity_id = acs.create()

    assert acs.state(identity_id) == {"id": identity_id, "state": "active", "tokensAlive": 0}


def test_an_unknown_identity_is_not_found(acs: EmulatorClient) -> None:
    """An identity that was never created is 404."""
    assert acs.control("GET", "/identities/8:acs:unknown").status == 404


def test_expired_tokens_are_not_alive(acs: EmulatorClient, clock: Clock) -> None:
    """An expired token does not count as alive, even if it was not revoked."""
    identity_id = acs.create()
    acs.issue(identity_id)
    clock.offset = 24 * 60 * 60

    assert acs.state(identity_id)["tokensAlive"] == 0


def test_reset_removes_everything(acs: EmulatorClient) -> None:
    """A reset removes identities, counts, faults and quotas."""
    acs.create()
    acs.add_fault(kind="drop", times=1)
    acs.control("PUT", "/quotas", {})

    acs.control("POST", "/reset")

    assert acs.control("GET", "/identities").document["identities"] == []
    assert acs.counts("create") == (0, 0)
    assert acs.control("GET", "/faults").document == {"faults": []}
    assert acs.control("GET", "/quotas").document["enforced"] is False


@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"kind": "flood"},
        {"kind": "drop", "when": "later"},
        {"kind": "drop", "operation": "list"},
        {"kind": "drop", "times": 0},
        {"kind": "drop", "share": 1.5},
        {"kind": "drop", "status": 503},
        {"kind": "status"},
        {"kind": "status", "status": 99},
    ],
)
def test_an_invalid_fault_is_refused(acs: EmulatorClient, fault: dict[str, object]) -> None:
    """Unknown kinds and fields, missing fields and values out of range are 400."""
    assert acs.control("POST", "/faults", fault).error[:2] == (400, "ControlError")


def test_invalid_quotas_are_refused(acs: EmulatorClient) -> None:
    """A window of zero seconds is 400."""
    assert acs.control("PUT", "/quotas", {"windowSeconds": 0}).status == 400
