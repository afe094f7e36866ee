"""Quotas: the number of requests per window."""

import pytest

from local.acs.errors import ServiceError
from local.acs.quotas import Quota, Quotas, QuotaSettings
from tests.local.acs.support import CREATE, EmulatorClient

LIMITED = QuotaSettings(window_seconds=10, limits={Quota.DELETE: 2}, retry_after=True)


def test_a_window_limits_the_requests_of_one_operation() -> None:
    """With a limit of two, the third request is 429. Retry-After is the rest, rounded up."""
    now = [100.0]
    quotas = Quotas(lambda: now[0])
    quotas.enforce(LIMITED)
    quotas.acquire(Quota.DELETE)
    quotas.acquire(Quota.DELETE)
    now[0] += 2.5

    with pytest.raises(ServiceError, match="429") as refused:
        quotas.acquire(Quota.DELETE)

    assert refused.value.headers == {"Retry-After": "8"}
    quotas.acquire(Quota.ISSUE)


def test_the_next_window_starts_at_zero() -> None:
    """Refused requests do not extend the window."""
    now = [100.0]
    quotas = Quotas(lambda: now[0])
    quotas.enforce(LIMITED)
    for _ in range(2):
        quotas.acquire(Quota.DELETE)
    now[0] += 9
    with pytest.raises(ServiceError):
        quotas.acquire(Quota.DELETE)
    now[0] += 1

    for _ in range(2):
        quotas.acquire(Quota.DELETE)


def test_the_default_limits_are_those_of_acs() -> None:
    """The limits are 1000 for create and issue, and 500 for the others."""
    limits = [QuotaSettings().limit(quota) for quota in Quota]

    assert limits == [1000, 1000, 1000, 500, 500, 500, 500]


@pytest.mark.parametrize(("options", "retry_after"), [({}, None), ({"retryAfter": True}, "30")])
def test_a_429_has_no_retry_after_by_default(
    acs: EmulatorClient, options: dict[str, object], retry_after: str | None
) -> None:
    """The real service does not promise the header. An option adds it."""
    acs.control("PUT", "/quotas", {"limits": {"create": 1}, **options})
    acs.create()

    response = acs.signed("POST", CREATE)

    assert response.error[:2] == (429, "TooManyRequests")
    assert response.headers["Retry-After"] == retry_after


def test_creating_with_a_token_has_its_own_quota(acs: EmulatorClient) -> None:
    """Creating without a token still works when that quota is used up."""
    body = {"createTokenWithScopes": ["voip"]}
    acs.control("PUT", "/quotas", {"limits": {"createWithToken": 0}})

    assert acs.signed("POST", CREATE, body).status == 429
    assert acs.signed("POST", CREATE).status == 201

    acs.control("DELETE", "/quotas")
    assert acs.signed("POST", CREATE, body).status == 201
