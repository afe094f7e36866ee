"""The control endpoint: who may ask, and what it tells."""

import pytest

from local.acs import CONTROL_HEADER, CONTROL_PREFIX
from tests.local.acs.served import Served


@pytest.mark.parametrize("headers", [{}, {CONTROL_HEADER: "wrong"}, {CONTROL_HEADER: "\xe9"}])
@pytest.mark.parametrize("path", ["/counts", "/nowhere"])
def test_without_the_key_everything_is_forbidden(
    acs: Served, headers: dict[str, str], path: str
) -> None:
    """Wrong and missing keys alike, whether the path exists or not."""
    assert acs.send("GET", CONTROL_PREFIX + path, headers).status == 403


def test_no_preflight_is_answered(acs: Served) -> None:
    """So no web page can send the header across sites."""
    headers = {
        "Origin": "https://example.com",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": CONTROL_HEADER,
    }

    reply = acs.send("OPTIONS", f"{CONTROL_PREFIX}/reset", headers)

    assert reply.status == 403
    assert not [name for name in reply.headers if name.lower().startswith("access-control")]


def test_an_unknown_path_is_not_found(acs: Served) -> None:
    """Errors are JSON here too."""
    reply = acs.control("GET", "/nowhere")

    assert reply.error[:2] == (404, "ControlError")


@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_another_method_is_not_allowed(acs: Served, method: str) -> None:
    """Each path has its methods."""
    assert acs.control(method, "/counts").status == 405


def test_attempts_and_effects_are_counted_apart(acs: Served) -> None:
    """A refused call is an attempt without an effect."""
    acs.issue(acs.create())
    acs.issue("unknown")

    assert acs.counts("issue") == (2, 1)
    assert acs.counts("create") == (1, 1)
    assert acs.counts("revoke") == (0, 0)


def test_identities_are_shown_with_state_and_living_tokens(acs: Served) -> None:
    """Deleted ones included, oldest first."""
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


def test_one_identity_can_be_asked_for(acs: Served) -> None:
    """By its id, as it stands."""
    identity_id = acs.create()

    shown = acs.control("GET", f"/identities/{identity_id}").document

    assert shown == {"id": identity_id, "state": "active", "tokensAlive": 0}


def test_an_unknown_identity_is_not_found(acs: Served) -> None:
    """It was never made, or a reset has forgotten it."""
    assert acs.control("GET", "/identities/8:acs:unknown").status == 404


def test_expired_tokens_are_not_alive(acs: Served) -> None:
    """They are dead without having been revoked."""
    identity_id = acs.create()
    acs.issue(identity_id)
    acs.clock.ahead = 24 * 60 * 60

    assert acs.control("GET", f"/identities/{identity_id}").document["tokensAlive"] == 0


def test_reset_forgets_everything(acs: Served) -> None:
    """Identities, counts, faults and quotas."""
    acs.create()
    acs.arm(kind="drop", times=1)
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
def test_a_fault_that_makes_no_sense_is_refused(acs: Served, fault: dict[str, object]) -> None:
    """Rather than do something else than was meant."""
    assert acs.control("POST", "/faults", fault).error[:2] == (400, "ControlError")


def test_quotas_that_make_no_sense_are_refused(acs: Served) -> None:
    """A window that never ends, or never begins, is none."""
    assert acs.control("PUT", "/quotas", {"windowSeconds": 0}).status == 400
