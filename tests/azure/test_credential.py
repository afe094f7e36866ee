"""The credential responds within seconds and survives an outage of its source."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from azure.core.credentials import AccessTokenInfo, TokenRequestOptions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    ServiceRequestError,
    ServiceResponseTimeoutError,
)
from azure.identity import CredentialUnavailableError
from azure.identity.aio import DefaultAzureCredential

from identity_service.azure.credential import (
    LAST_MINUTE,
    LAST_WAIT,
    LONG_PAUSE,
    PAUSE,
    RENEWAL,
    TIMEOUT,
    Credential,
)
from identity_service.log import restrain_libraries
from local.entra import Issuer
from local.managed_identity import PATH, ManagedIdentity

SCOPE = "https://one.example/.default"
OTHER_SCOPE = "https://two.example/.default"

DOWN = CredentialUnavailableError("no endpoint")
FAILURES = [
    DOWN,
    ClientAuthenticationError("no such identity"),
    ServiceRequestError("refused"),
    ServiceResponseTimeoutError("slow"),
    AzureError("what"),
    TimeoutError(),
    # azure-identity does not check responses: it reads `expires_on` with int().
    ValueError("invalid literal for int() with base 10: 'soon'"),
    KeyError("resource"),
]
every_failure = pytest.mark.parametrize(
    "failure", FAILURES, ids=[type(each).__name__ for each in FAILURES]
)


class FakeSource:
    """A source of tokens in memory.

    Attributes:
        lifetime: The lifetime of its tokens, in seconds.
        refresh_in: After how many seconds it recommends to renew them.
        prefix: What its tokens begin with. If it is empty, so are they.
        failure: What it raises instead of returning a token.
        delay: How long it takes, in seconds.
        requests: The scopes that were requested, in order.
        options: The options of each request, in order.
        closed: Whether it was closed.
    """

    def __init__(self, failure: Exception | None = None) -> None:
        self.lifetime = 3600.0
        self.refresh_in: float | None = 0
        self.prefix = "secret-"
        self.failure = failure
        self.delay = 0.0
        self.requests: list[str] = []
        self.options: list[TokenRequestOptions | None] = []
        self.closed = False

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        """Return a new token, or fail."""
        self.requests.extend(scopes)
        self.options.append(options)
        if self.delay:
            await asyncio.sleep(self.delay)
        if self.failure is not None:
            raise self.failure.with_traceback(None)
        now = int(time.time())
        token = self.prefix and f"{self.prefix}{len(self.requests)}"
        refresh_on = None if self.refresh_in is None else int(now + self.refresh_in)
        return AccessTokenInfo(token, int(now + self.lifetime), refresh_on=refresh_on)

    async def close(self) -> None:
        """Record it."""
        self.closed = True


async def token_of(credential: Credential, scope: str = SCOPE) -> str:
    """The token that the credential returns. Empty if it has none."""
    try:
        return (await credential.get_token_info(scope)).token
    except CredentialUnavailableError:
        return ""


async def in_an_outage(
    failure: Exception = DOWN, lifetime: float = 3600
) -> tuple[FakeSource, Credential]:
    """A source that fails, and its credential, which has an old token with this lifetime."""
    source = FakeSource()
    source.lifetime = lifetime
    credential = Credential(source)
    await token_of(credential)
    source.failure = failure
    return source, credential


async def test_token_of_the_source_is_returned() -> None:
    """The credential returns what its source returns, and passes on the options."""
    source = FakeSource()
    token = await Credential(source).get_token_info(SCOPE, options={"tenant_id": "t"})

    assert (token.token, source.options) == ("secret-1", [{"tenant_id": "t"}])


async def test_options_are_independent() -> None:
    """A call with other options gets a token of its own."""
    credential = Credential(FakeSource())
    plain = await credential.get_token_info(SCOPE)
    of_tenant = await credential.get_token_info(SCOPE, options={"tenant_id": "t"})
    again = await credential.get_token_info(SCOPE)

    assert (plain.token, of_tenant.token, again.token) == ("secret-1", "secret-2", "secret-1")


async def test_older_protocol() -> None:
    """The older form of azure-core's protocol returns the same token."""
    token = await Credential(FakeSource()).get_token(
        SCOPE, claims="x", tenant_id="y", enable_cae=True
    )

    assert token.token == "secret-1"


async def test_fresh_token_is_reused() -> None:
    """A token is not renewed before the time that its source recommends."""
    source = FakeSource()
    source.refresh_in = 1800
    credential = Credential(source)
    tokens = [await token_of(credential), await token_of(credential)]

    assert (tokens, len(source.requests)) == (["secret-1", "secret-1"], 1)


@pytest.mark.parametrize(
    ("lifetime", "refresh_in"), [(3600, 0), (RENEWAL - 1, None), (RENEWAL - 1, 200)]
)
async def test_old_token_is_renewed_in_the_background(
    lifetime: float, refresh_in: float | None
) -> None:
    """The call that finds it due gets the old token, and a later call the new one."""
    source = FakeSource()
    source.lifetime, source.refresh_in = lifetime, refresh_in
    credential = Credential(source)
    tokens = []
    for _ in range(3):
        tokens.append(await token_of(credential))
        await asyncio.sleep(0)

    assert tokens == ["secret-1", "secret-1", "secret-2"]


@pytest.mark.parametrize("has_old_token", [False, True])
def test_concurrent_calls_share_one_renewal(
    virtual_time: asyncio.Runner, has_old_token: bool
) -> None:
    """A hundred calls cause one request, and all get a token."""

    async def scenario() -> None:
        source = FakeSource()
        credential = Credential(source)
        if has_old_token:
            await token_of(credential)
        before = len(source.requests)
        source.delay = 1

        tokens = await asyncio.gather(*(token_of(credential) for _ in range(100)))

        assert set(tokens) == {"secret-1"}
        await asyncio.sleep(0)
        assert len(source.requests) - before == 1

    virtual_time.run(scenario())


@pytest.mark.parametrize("lifetime", [0, -60])
async def test_expired_token_is_never_returned(
    lifetime: float, caplog: pytest.LogCaptureFixture
) -> None:
    """A source that returns an expired token has failed."""
    source = FakeSource()
    source.lifetime = lifetime

    assert await token_of(Credential(source)) == ""
    assert "has expired" in caplog.text


async def test_empty_token_is_never_returned() -> None:
    """A source that returns an empty token has failed."""
    source = FakeSource()
    source.prefix = ""
    with pytest.raises(CredentialUnavailableError):
        await Credential(source).get_token_info(SCOPE)


@every_failure
async def test_failure(failure: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """Any failure of the source means that the credential is unavailable. It is logged."""
    with pytest.raises(CredentialUnavailableError):
        await Credential(FakeSource(failure)).get_token_info(SCOPE)

    [record] = caplog.records
    assert record.message.startswith(f"credential_unavailable scope={SCOPE} reason=")
    assert type(failure).__name__ in record.message


async def test_failure_of_the_identity_endpoint_is_one_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """azure-identity itself does not log the cause a second time."""
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://no-such-host.invalid/msi")
    monkeypatch.setenv("IDENTITY_HEADER", "header")
    create = logging.getLogRecordFactory()
    restrain_libraries()
    async with Credential.connect() as credential:
        await credential.warm_up(SCOPE)
    logging.setLogRecordFactory(create)

    [message] = caplog.messages
    assert message.startswith(f"credential_unavailable scope={SCOPE} reason=")
    assert "no-such-host.invalid" in message


@every_failure
async def test_old_token_is_used_during_an_outage(failure: Exception) -> None:
    """While the source fails, the last token is returned."""
    _, credential = await in_an_outage(failure)

    assert await token_of(credential) == "secret-1"


@pytest.mark.parametrize("lifetime", [0, -60])
async def test_expired_token_is_not_used(lifetime: float) -> None:
    """A token that has expired is not returned."""
    _, credential = await in_an_outage(lifetime=lifetime)

    assert await token_of(credential) == ""


def test_token_about_to_expire(virtual_time: asyncio.Runner) -> None:
    """In its last minute, a call waits for a new token, but not long, and uses the old one."""

    async def scenario() -> tuple[float, str]:
        source, credential = await in_an_outage(lifetime=LAST_MINUTE - 2)
        await asyncio.sleep(PAUSE)
        source.failure, source.delay = None, 3600
        started = asyncio.get_running_loop().time()
        token = await token_of(credential)
        return asyncio.get_running_loop().time() - started, token

    assert virtual_time.run(scenario()) == (LAST_WAIT, "secret-1")


async def test_old_token_requests_no_early_renewal() -> None:
    """An old token has no `refresh_on`, so clients do not ask for another one on each call."""
    _, credential = await in_an_outage()

    assert (await credential.get_token_info(SCOPE)).refresh_on is None


async def test_scopes_are_independent() -> None:
    """A scope gets no old token of another one, and its failure causes no pause for others."""
    source, credential = await in_an_outage()

    assert await token_of(credential, OTHER_SCOPE) == ""

    source.failure = None
    await token_of(credential)
    await asyncio.sleep(0)

    assert await token_of(credential) == "secret-3"


def test_source_is_not_asked_right_after_a_failure(virtual_time: asyncio.Runner) -> None:
    """Within the pause after a failure, calls fail at once. After it, the source is asked again."""

    async def scenario() -> None:
        source = FakeSource(DOWN)
        credential = Credential(source)
        await token_of(credential)
        source.failure = None
        await asyncio.sleep(PAUSE - 0.1)
        assert (await token_of(credential), len(source.requests)) == ("", 1)
        await asyncio.sleep(0.2)
        assert (await token_of(credential), len(source.requests)) == ("secret-2", 2)

    virtual_time.run(scenario())


@pytest.mark.parametrize("has_old_token", [False, True])
def test_call_waits_for_a_slow_source_only_without_a_token(
    virtual_time: asyncio.Runner, has_old_token: bool
) -> None:
    """A call that has an old token does not wait. Another one waits until the timeout."""

    async def scenario() -> tuple[float, str]:
        source = FakeSource()
        credential = Credential(source)
        if has_old_token:
            await token_of(credential)
        source.delay = 3600
        token = await token_of(credential)
        return asyncio.get_running_loop().time(), token

    assert virtual_time.run(scenario()) == ((0, "secret-1") if has_old_token else (TIMEOUT, ""))


@pytest.mark.parametrize(("delay", "failure"), [(3600, None), (0, DOWN)], ids=["hangs", "refuses"])
def test_outage_causes_few_requests(
    virtual_time: asyncio.Runner, delay: float, failure: Exception | None
) -> None:
    """For four minutes, every call gets the old token at once, and few ask the source."""

    async def scenario() -> None:
        source, credential = await in_an_outage(lifetime=RENEWAL)
        source.delay, source.failure = delay, failure
        for second in range(240):
            tokens = await asyncio.gather(*(token_of(credential) for _ in range(20)))
            assert set(tokens) == {"secret-1"}
            assert asyncio.get_running_loop().time() == second
            await asyncio.sleep(1)

        assert 10 < len(source.requests) <= 240 / LONG_PAUSE + 2

    virtual_time.run(scenario())


def test_token_is_renewed_after_an_outage(virtual_time: asyncio.Runner) -> None:
    """The first attempt after the pause succeeds."""

    async def scenario() -> str:
        source, credential = await in_an_outage()
        for _ in range(2):  # the second call finds the failure
            await token_of(credential)
            await asyncio.sleep(0)
        source.failure = None
        await asyncio.sleep(LONG_PAUSE)
        await token_of(credential)
        await asyncio.sleep(0)
        return await token_of(credential)

    assert virtual_time.run(scenario()) == "secret-3"


async def test_failure_in_the_background_is_logged_by_the_next_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged once, while a call is running: a later line could be lost."""
    _, credential = await in_an_outage()
    await token_of(credential)
    await asyncio.sleep(0.01)
    before = caplog.messages[:]
    await token_of(credential)
    await token_of(credential)

    assert (before, len(caplog.messages)) == ([], 1)
    assert caplog.messages[0].startswith(f"credential_unavailable scope={SCOPE} ")


async def cancelled(credential: Credential) -> None:
    """A caller that requests a token and is cancelled at once."""
    caller = asyncio.create_task(credential.get_token_info(SCOPE))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller


def test_cancelled_caller_leaves_the_request_to_the_next_one(virtual_time: asyncio.Runner) -> None:
    """A cancellation is no failure of the source: the next call gets the token."""

    async def scenario() -> str:
        source = FakeSource()
        source.delay = 1
        credential = Credential(source)
        await cancelled(credential)
        return await token_of(credential)

    assert virtual_time.run(scenario()) == "secret-1"


async def test_cancelled_caller_does_not_affect_others() -> None:
    """Another caller that is waiting gets its token."""
    source = FakeSource()
    source.delay = 0.01
    credential = Credential(source)
    other = asyncio.create_task(token_of(credential))
    await cancelled(credential)

    assert (await other).startswith("secret-")


async def test_failed_warm_up_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A warm-up does not fail if the source is down: the first call tries again."""
    await Credential(FakeSource(DOWN)).warm_up(SCOPE)

    assert "credential_unavailable" in caplog.text


async def test_token_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """No token reaches the log, not even during an outage."""
    caplog.set_level(logging.DEBUG)
    _, credential = await in_an_outage()
    await token_of(credential)

    assert "secret" not in caplog.text


async def test_failure_is_one_short_line(caplog: pytest.LogCaptureFixture) -> None:
    """The message of a failure is logged on one line, and cut."""
    failure = CredentialUnavailableError("chain:\n\tfirst\n" + "x" * 10_000)
    await token_of(Credential(FakeSource(failure)))

    assert (caplog.text.count("\n"), len(caplog.text) < 700) == (1, True)


async def test_close() -> None:
    """Closing the credential closes its source."""
    source = FakeSource()
    async with Credential(source):
        pass

    assert source.closed


async def test_close_ends_the_renewal() -> None:
    """No request outlives the credential."""
    source, credential = await in_an_outage()
    source.delay = 3600
    await token_of(credential)
    await asyncio.sleep(0)
    await credential.close()
    await asyncio.sleep(0)

    assert asyncio.all_tasks() == {asyncio.current_task()}


# The local managed identity endpoint


class UncachedSource:
    """A source that asks the managed identity endpoint each time, with Microsoft's SDK."""

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        """Get a new token."""
        async with DefaultAzureCredential(use_env_settings=False) as source:
            return await source.get_token_info(*scopes, options=options)

    async def close(self) -> None:
        """Do nothing."""


@pytest.fixture
async def endpoint(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TestClient[Any, Any]]:
    """The endpoint and its control routes, with tokens that are about to be renewed."""
    managed_identity = ManagedIdentity(Issuer(), "header")
    application = managed_identity.application()
    application.add_routes(managed_identity.control_routes())
    async with TestClient(TestServer(application)) as client:
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
        monkeypatch.setenv("IDENTITY_ENDPOINT", str(client.make_url(PATH)))
        monkeypatch.setenv("IDENTITY_HEADER", "header")
        await client.put("/managed-identity/trouble", json={"lifetimeSeconds": RENEWAL - 1})
        yield client


@pytest.mark.parametrize(
    "fault",
    [{"delaySeconds": 60}, {"drop": True}, {"status": 500}, {"lifetimeSeconds": -60}],
    ids=["hangs", "drops", "fails", "returns an expired token"],
)
async def test_calls_do_not_notice_a_failing_endpoint(
    endpoint: TestClient[Any, Any], fault: dict[str, object]
) -> None:
    """With a token that is about to expire, calls get that token at once and share one request."""
    async with Credential(UncachedSource()) as credential:
        token = await token_of(credential)
        await endpoint.put("/managed-identity/trouble", json=fault)

        started = time.monotonic()
        tokens = []
        while time.monotonic() - started < 1:
            tokens += await asyncio.gather(*(token_of(credential) for _ in range(10)))
            await asyncio.sleep(0.05)

        counted = await (await endpoint.get("/managed-identity")).json()
        assert set(tokens) == {token}
        assert time.monotonic() - started < TIMEOUT  # of one request
        assert counted["requests"][SCOPE.removesuffix("/.default")] < 10  # the SDK retries
