"""Quotas: the number of requests per window."""

import pytest

from local.acs.errors import ServiceError
from local.acs.quotas import Quota, Quotas, QuotaSettings
from tests.local.acs.support import CREATE, EmulatorClient


class StoppedClock:
    """A clock that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self.now


@pytest.fixture
def stopped_clock() -> StoppedClock:
    """The clock of `quotas`."""
    return StoppedClock()


@pytest.fixture
def quotas(stopped_clock: StoppedClock) -> Quotas:
    """Quotas of two deletions in ten seconds, both of which are used up."""
    quotas = Quotas(stopped_clock)
    quotas.enforce(QuotaSettings(window_seconds=10, limits={Quota.DELETE: 2}, retry_after=True))
    quotas.acquire(Quota.DELETE)
    quotas.acquire(Quota.DELETE)
    return quotas


def test_a_request_over_the_limit_is_refused(quotas: Quotas) -> None:
    """With a limit of two, the third request is 429."""
    with pytest.raises(ServiceError, match="429"):
        quotas.acquire(Quota.DELETE)


def test_the_next_window_starts_at_zero(quotas: Quotas, stopped_clock: StoppedClock) -> None:
    """When the window has ended, its requests no longer count."""
    stopped_clock.now += 10

    quotas.acquire(Quota.DELETE)


def test_refused_requests_do_not_extend_the_window(
    quotas: Quotas, stopped_clock: StoppedClock
) -> None:
    """The window ends at the same time, whether or not a client retries too early."""
    stopped_clock.now += 9
    with pytest.raises(ServiceError):
        quotas.acquire(Quota.DELETE)
    stopped_clock.now += 1

    quotas.acquire(Quota.DELETE)


def test_retry_after_is_the_rest_of_the_window(quotas: Quotas, stopped_clock: StoppedClock) -> None:
    """Retry-After is in whole seconds, rounded up."""
    stopped_clock.now += 2.5

    with pytest.raises(ServiceError) as refused:
        quotas.acquire(Quota.DELETE)

    assert refused.value.headers == {"Retry-After": "8"}


def test_each_operation_has_its_own_quota(quotas: Quotas) -> None:
    """The quota of delete does not limit issue."""
    quotas.acquire(Quota.ISSUE)


def test_the_default_limits_are_those_of_acs() -> None:
    """The limits are 1000 for create and issue, and 500 for the others."""
    limits = [QuotaSettings().limit(quota) for quota in Quota]

    assert limits == [1000, 1000, 1000, 500, 500, 500]


def test_quotas_are_off_by_default(acs: EmulatorClient) -> None:
    """A load test is not throttled unless quotas are turned on."""
    assert acs.control("GET", "/quotas").document["enforced"] is False


def test_a_429_has_no_retry_after_by_default(acs: EmulatorClient) -> None:
    """The real service does not promise the header."""
    acs.control("PUT", "/quotas", {"limits": {"create": 1}})
    acs.create()

    response = acs.signed("POST", CREATE)

    assert response.error[:2] == (429, "TooManyRequests")
    assert "Retry-After" not in response.headers


def test_a_429_can_have_retry_after(acs: EmulatorClient) -> None:
    """The setting `retryAfter` adds the header."""
    acs.control("PUT", "/quotas", {"limits": {"create": 0}, "retryAfter": True})

    response = acs.signed("POST", CREATE)

    assert response.headers["Retry-After"] == "30"


def test_creating_with_a_token_has_its_own_quota(acs: EmulatorClient) -> None:
    """Creating without a token still works when that quota is used up."""
    acs.control("PUT", "/quotas", {"limits": {"createWithToken": 0}})

    assert acs.signed("POST", CREATE, {"createTokenWithScopes": ["voip"]}).status == 429
    assert acs.signed("POST", CREATE).status == 201


def test_quotas_can_be_turned_off(acs: EmulatorClient) -> None:
    """After deleting the settings, no request is throttled."""
    acs.control("PUT", "/quotas", {"limits": {"create": 0}})

    acs.control("DELETE", "/quotas")

    assert acs.signed("POST", CREATE).status == 201
