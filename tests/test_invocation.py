"""What an invocation costs: calls to ACS, ended or not."""

import pytest

from identity_service.invocation import Invocation


def test_no_call_costs_nothing() -> None:
    """Of ACS, nothing."""
    assert Invocation("one").acs_seconds == 0


def test_a_call_under_way_counts() -> None:
    """Whoever is answered at the deadline learns from the log that it was ACS."""
    invocation = Invocation("one")

    with invocation.acs_call():
        before = invocation.acs_seconds
        assert invocation.acs_seconds > before > 0


def test_an_ended_call_costs_what_it_took() -> None:
    """No more than it was seen to take, and from then on always the same."""
    invocation = Invocation("one")

    with invocation.acs_call():
        within = invocation.acs_seconds
    after = invocation.acs_seconds

    assert invocation.acs_seconds == after > within


def test_calls_at_once_add_up() -> None:
    """One that ends does not stop the clock of the other."""
    invocation = Invocation("one")

    with invocation.acs_call():
        with invocation.acs_call():
            pass
        before = invocation.acs_seconds
        assert invocation.acs_seconds > before > 0


def test_a_call_that_fails_has_ended() -> None:
    """It costs what it took until then."""
    invocation = Invocation("one")

    with pytest.raises(ValueError, match="refused"), invocation.acs_call():
        raise ValueError("refused")
    after = invocation.acs_seconds

    assert invocation.acs_seconds == after > 0
