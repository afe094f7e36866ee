"""The credential answers within seconds and outlives an outage of its source."""

import asyncio
import logging
import time
from typing import Self

import pytest
from azure.core.credentials import AccessTokenInfo, TokenRequestOptions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    ServiceRequestError,
    ServiceResponseTimeoutError,
)
from azure.identity import CredentialUnavailableError

from identity_service.credential import LAST_USE, PATIENCE, PAUSE, Credential

SCOPE = "https://one.example/.default"
OTHER_SCOPE = "https://two.example/.default"

FAILURES = {
    "unavailable": CredentialUnavailableError("no endpoint"),
    "refused": ClientAuthenticationError("no such identity"),
    "no connection": ServiceRequestError("refused"),
    "no answer": ServiceResponseTimeoutError("slow"),
    "something else": AzureError("what"),
    "time-out": TimeoutError(),
    # azure-identity reads `expires_on` with int() and looks members up without asking.
    "garbage number": ValueError("invalid literal for int() with base 10: 'soon'"),
    "missing member": KeyError("resource"),
}


class FakeSource:
    """A source of tokens in memory.

    Attributes:
        life: Seconds that its tokens live.
        failure: What it raises instead of giving a token.
        delay: Seconds that it takes over everything.
        asked: The scopes it was asked for, in order.
        options: What else it was told, in order.
        closed: Whether it was closed.
    """

    def __init__(self) -> None:
        self.life = 3600.0
        self.failure: Exception | None = None
        self.delay = 0.0
        self.asked: list[str] = []
        self.options: list[TokenRequestOptions | None] = []
        self.closed = False

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        """Give a new token, or fail."""
        self.asked.extend(scopes)
        self.options.append(options)
        if self.delay:
            await asyncio.sleep(self.delay)
        if self.failure is not None:
            raise self.failure.with_traceback(None)
        return AccessTokenInfo(f"secret-{len(self.asked)}", int(time.time() + self.life))

    async def close(self) -> None:
        """Remember it."""
        self.closed = True

    async def __aenter__(self) -> Self:
        return self


async def fails(credential: Credential, scope: str = SCOPE) -> None:
    """Ask for a token that is not to be had."""
    with pytest.raises(CredentialUnavailableError):
        await credential.get_token_info(scope)


async def test_gives_the_source_s_token() -> None:
    """A token of the source is passed on."""
    credential = Credential(FakeSource())

    token = await credential.get_token_info(SCOPE)

    assert token.token == "secret-1"


async def test_speaks_the_older_protocol() -> None:
    """The older form of the protocol gives the same token."""
    credential = Credential(FakeSource())

    token = await credential.get_token(SCOPE, claims="x", tenant_id="y", enable_cae=True)

    assert token.token == "secret-1"


async def test_keeps_no_cache() -> None:
    """When to renew a token is for the source to know: it is asked each time."""
    credential = Credential(FakeSource())
    await credential.get_token_info(SCOPE)

    token = await credential.get_token_info(SCOPE)

    assert token.token == "secret-2"


async def test_passes_options_on() -> None:
    """What a client asks for besides the scope reaches the source."""
    source = FakeSource()

    await Credential(source).get_token_info(SCOPE, options={"tenant_id": "t"})

    assert source.options == [{"tenant_id": "t"}]


@pytest.mark.parametrize("failure", list(FAILURES.values()), ids=list(FAILURES))
async def test_failure(failure: Exception) -> None:
    """Whatever goes wrong with the source, there is no credential to be had."""
    source = FakeSource()
    source.failure = failure

    with pytest.raises(CredentialUnavailableError):
        await Credential(source).get_token_info(SCOPE)


@pytest.mark.parametrize("failure", list(FAILURES.values()), ids=list(FAILURES))
async def test_old_token_serves_while_the_source_is_down(failure: Exception) -> None:
    """While the source gives nothing, the token that it gave before serves."""
    source = FakeSource()
    credential = Credential(source)
    await credential.get_token_info(SCOPE)
    source.failure = failure

    token = await credential.get_token_info(SCOPE)

    assert token.token == "secret-1"


@pytest.mark.parametrize("life", [LAST_USE - 2, 0, -60])
async def test_token_about_to_expire_does_not_serve(life: float) -> None:
    """A token that may expire on its way is none."""
    source = FakeSource()
    source.life = life
    credential = Credential(source)
    await credential.get_token_info(SCOPE)
    source.failure = CredentialUnavailableError("down")

    with pytest.raises(CredentialUnavailableError):
        await credential.get_token_info(SCOPE)


async def test_old_token_asks_for_no_early_renewal() -> None:
    """An old token that serves during an outage makes no client ask again on every call."""
    source = FakeSource()
    credential = Credential(source)
    await credential.get_token_info(SCOPE)
    source.failure = CredentialUnavailableError("down")

    token = await credential.get_token_info(SCOPE)

    assert token.refresh_on is None


async def test_failure_is_remembered() -> None:
    """Right after a failure nobody asks the source again."""
    source = FakeSource()
    source.failure = CredentialUnavailableError("down")
    credential = Credential(source)
    await fails(credential)

    await fails(credential)

    assert len(source.asked) == 1


async def test_failure_is_forgotten() -> None:
    """After the pause the source is asked again."""
    source = FakeSource()
    source.failure = CredentialUnavailableError("down")
    credential = Credential(source)
    await fails(credential)
    source.failure = None
    await asyncio.sleep(PAUSE + 0.05)

    token = await credential.get_token_info(SCOPE)

    assert token.token == "secret-2"


async def test_scopes_fail_apart() -> None:
    """A failure for one scope says nothing about another."""
    source = FakeSource()
    source.failure = CredentialUnavailableError("down")
    credential = Credential(source)
    await fails(credential)
    source.failure = None

    token = await credential.get_token_info(OTHER_SCOPE)

    assert token.token == "secret-2"


async def test_scopes_are_kept_apart() -> None:
    """An old token for one scope does not serve for another."""
    source = FakeSource()
    credential = Credential(source)
    await credential.get_token_info(SCOPE)
    source.failure = CredentialUnavailableError("down")

    with pytest.raises(CredentialUnavailableError):
        await credential.get_token_info(OTHER_SCOPE)


def test_patience(hasty: asyncio.Runner) -> None:
    """A source that hangs is waited for only so long."""
    source = FakeSource()
    source.delay = 3600

    async def scenario() -> float:
        clock = asyncio.get_running_loop()
        start = clock.time()
        await fails(Credential(source))
        return clock.time() - start

    seconds = hasty.run(scenario())

    assert seconds == pytest.approx(PATIENCE, abs=0.5)


def test_old_token_serves_while_the_source_hangs(hasty: asyncio.Runner) -> None:
    """While the source hangs, the token that it gave before serves."""
    source = FakeSource()
    credential = Credential(source)
    hasty.run(credential.get_token_info(SCOPE))
    source.delay = 3600

    token = hasty.run(credential.get_token_info(SCOPE))

    assert token.token == "secret-1"


async def cancelled(credential: Credential) -> None:
    """Ask for a token and give up at once."""
    caller = asyncio.create_task(credential.get_token_info(SCOPE))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_cancelled_caller_is_no_failure() -> None:
    """A caller who gives up leaves no pause behind."""
    source = FakeSource()
    source.delay = 3600
    credential = Credential(source)
    await cancelled(credential)
    source.delay = 0

    token = await credential.get_token_info(SCOPE)

    assert token.token == "secret-2"


async def test_cancelled_caller_takes_nobody_along() -> None:
    """A caller who gives up does not end the wait of another."""
    source = FakeSource()
    source.delay = 0.01
    credential = Credential(source)
    patient = asyncio.create_task(credential.get_token_info(SCOPE))

    await cancelled(credential)

    assert (await patient).token.startswith("secret-")


@pytest.mark.parametrize("failure", list(FAILURES.values()), ids=list(FAILURES))
async def test_failure_is_in_the_log(failure: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """An operator can read what went wrong with the source."""
    source = FakeSource()
    source.failure = failure

    await fails(Credential(source))

    assert "credential_unavailable" in caplog.text
    assert type(failure).__name__ in caplog.text


async def test_log_holds_no_token(caplog: pytest.LogCaptureFixture) -> None:
    """No token reaches the log, neither when there is one nor when there is none."""
    caplog.set_level(logging.DEBUG)
    source = FakeSource()
    credential = Credential(source)
    await credential.get_token_info(SCOPE)
    source.failure = CredentialUnavailableError("down")

    await credential.get_token_info(SCOPE)

    assert "secret" not in caplog.text


async def test_log_takes_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """A failure takes one line of the log, and a short one."""
    source = FakeSource()
    source.failure = CredentialUnavailableError("chain:\n\tfirst\n" + "x" * 10_000)

    await fails(Credential(source))

    assert (caplog.text.count("\n"), len(caplog.text) < 700) == (1, True)


async def test_close() -> None:
    """Closing the credential closes the source."""
    source = FakeSource()

    async with Credential(source):
        pass

    assert source.closed
