"""The credential responds within seconds and survives an outage of its source."""

import asyncio
import logging
import time

import pytest
from azure.core.credentials import AccessTokenInfo, TokenRequestOptions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    ServiceRequestError,
    ServiceResponseTimeoutError,
)
from azure.identity import CredentialUnavailableError

from identity_service.azure.credential import LAST_USE, PAUSE, TIMEOUT, Credential
from identity_service.log import restrain_libraries

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
        failure: What it raises instead of returning a token.
        delay: How long it takes, in seconds.
        requests: The scopes that were requested, in order.
        options: The options of each request, in order.
        closed: Whether it was closed.
    """

    def __init__(self, failure: Exception | None = None) -> None:
        self.lifetime = 3600.0
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
        return AccessTokenInfo(
            f"secret-{len(self.requests)}", int(now + self.lifetime), refresh_on=now
        )

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


async def test_older_protocol() -> None:
    """The older form of azure-core's protocol returns the same token."""
    token = await Credential(FakeSource()).get_token(
        SCOPE, claims="x", tenant_id="y", enable_cae=True
    )

    assert token.token == "secret-1"


async def test_there_is_no_cache() -> None:
    """The source is asked each time: it decides when to renew a token."""
    credential = Credential(FakeSource())
    tokens = [await token_of(credential), await token_of(credential)]

    assert tokens == ["secret-1", "secret-2"]


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


@pytest.mark.parametrize("lifetime", [LAST_USE - 2, 0, -60])
async def test_old_token_about_to_expire_is_not_used(lifetime: float) -> None:
    """A token that may expire during the call is not returned."""
    _, credential = await in_an_outage(lifetime=lifetime)

    assert await token_of(credential) == ""


async def test_old_token_requests_no_early_renewal() -> None:
    """An old token has no `refresh_on`, so clients do not ask for another one on each call."""
    _, credential = await in_an_outage()

    assert (await credential.get_token_info(SCOPE)).refresh_on is None


async def test_scopes_are_independent() -> None:
    """A scope gets no old token of another one, and its failure causes no pause for others."""
    source, credential = await in_an_outage()

    assert await token_of(credential, OTHER_SCOPE) == ""

    source.failure = None
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
def test_slow_source_is_abandoned(virtual_time: asyncio.Runner, has_old_token: bool) -> None:
    """After the timeout, the old token is returned, if there is one."""

    async def scenario() -> tuple[float, str]:
        source = FakeSource()
        credential = Credential(source)
        if has_old_token:
            await token_of(credential)
        source.delay = 3600
        token = await token_of(credential)
        return asyncio.get_running_loop().time(), token

    seconds, token = virtual_time.run(scenario())

    assert seconds == pytest.approx(TIMEOUT, abs=0.5)
    assert token == ("secret-1" if has_old_token else "")


async def cancelled(credential: Credential) -> None:
    """A caller that requests a token and is cancelled at once."""
    caller = asyncio.create_task(credential.get_token_info(SCOPE))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_cancelled_caller_causes_no_pause() -> None:
    """A cancellation is no failure of the source."""
    source = FakeSource()
    source.delay = 3600
    credential = Credential(source)
    await cancelled(credential)
    source.delay = 0

    assert await token_of(credential) == "secret-2"


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
