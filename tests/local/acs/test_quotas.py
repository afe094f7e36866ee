"""Quotas: how many calls a window lets through."""

import pytest

from local.acs.errors import RefusedError
from local.acs.quotas import Quota, Quotas, QuotaSettings
from tests.local.acs.served import VERSION, Served


class StoppedClock:
    """A time that moves only when told to."""

    now = 100.0

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self.now


@pytest.fixture
def clock() -> StoppedClock:
    """A time of the test's own."""
    return StoppedClock()


@pytest.fixture
def quotas(clock: StoppedClock) -> Quotas:
    """Two deletions in ten seconds."""
    quotas = Quotas(clock)
    quotas.enforce(QuotaSettings(window_seconds=10, limits={Quota.DELETE: 2}, retry_after=True))
    return quotas


def test_a_window_lets_its_limit_through(quotas: Quotas) -> None:
    """The third of two is refused."""
    quotas.take(Quota.DELETE)
    quotas.take(Quota.DELETE)

    with pytest.raises(RefusedError, match="429"):
        quotas.take(Quota.DELETE)


def test_the_next_window_begins_anew(quotas: Quotas, clock: StoppedClock) -> None:
    """When the window's seconds have passed, its calls are forgotten."""
    quotas.take(Quota.DELETE)
    quotas.take(Quota.DELETE)
    clock.now += 10

    quotas.take(Quota.DELETE)


def test_refused_calls_do_not_prolong_the_window(quotas: Quotas, clock: StoppedClock) -> None:
    """Who hammers waits no longer than who waits."""
    for _ in range(2):
        quotas.take(Quota.DELETE)
    clock.now += 9
    with pytest.raises(RefusedError):
        quotas.take(Quota.DELETE)
    clock.now += 1

    quotas.take(Quota.DELETE)


def test_retry_after_is_what_is_left_of_the_window(quotas: Quotas, clock: StoppedClock) -> None:
    """In whole seconds, rounded up."""
    for _ in range(2):
        quotas.take(Quota.DELETE)
    clock.now += 2.5

    with pytest.raises(RefusedError) as refused:
        quotas.take(Quota.DELETE)

    assert refused.value.headers == {"Retry-After": "8"}


def test_operations_have_quotas_of_their_own(quotas: Quotas) -> None:
    """Deleting too much does not keep anybody from issuing."""
    for _ in range(2):
        quotas.take(Quota.DELETE)

    quotas.take(Quota.ISSUE)


def test_limits_that_are_not_given_are_those_of_acs() -> None:
    """1000 to create and to issue, 500 for the rest."""
    limits = [QuotaSettings().limit(quota) for quota in Quota]

    assert limits == [1000, 1000, 1000, 500, 500, 500]


def test_quotas_are_off_until_asked_for(acs: Served) -> None:
    """A load test is not throttled unawares."""
    assert acs.control("GET", "/quotas").document["enforced"] is False


def test_an_enforced_quota_answers_429(acs: Served) -> None:
    """Without Retry-After, which the service does not promise."""
    acs.control("PUT", "/quotas", {"limits": {"create": 1}})
    acs.create()

    reply = acs.signed("POST", f"/identities?{VERSION}")

    assert reply.error[:2] == (429, "TooManyRequests")
    assert "Retry-After" not in reply.headers


def test_a_429_can_say_retry_after(acs: Served) -> None:
    """Where it was asked to."""
    acs.control("PUT", "/quotas", {"limits": {"create": 0}, "retryAfter": True})

    reply = acs.signed("POST", f"/identities?{VERSION}")

    assert reply.headers["Retry-After"] == "30"


def test_creating_with_a_token_has_a_quota_of_its_own(acs: Served) -> None:
    """The plain creation goes through where the other is used up."""
    acs.control("PUT", "/quotas", {"limits": {"createWithToken": 0}})
    target = f"/identities?{VERSION}"

    assert acs.signed("POST", target, {"createTokenWithScopes": ["voip"]}).status == 429
    assert acs.signed("POST", target).status == 201


def test_quotas_can_be_lifted(acs: Served) -> None:
    """Deleting the settings lets everything through."""
    acs.control("PUT", "/quotas", {"limits": {"create": 0}})

    acs.control("DELETE", "/quotas")

    assert acs.signed("POST", f"/identities?{VERSION}").status == 201
