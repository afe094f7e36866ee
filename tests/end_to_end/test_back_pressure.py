"""An upstream that hangs: what callers see, what it costs, and what is left behind.

The local host sends the app as many calls at once as Azure sends to an instance. The others wait.
"""

import asyncio
import math
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from bench.process import clean_environment, mebibytes, sockets
from bench.soak.accounting import last_sweeps
from local.functions_host.host import CALLS_AT_ONCE
from tests.support.client import CHAT, DEADLINE, PAUSES, Client, Control, Reply, until
from tests.support.fixtures import StartApp
from tests.support.stack import App

Send = Callable[[], Awaitable[Reply]]

# A crowd's callers, and the groups in which they come.
CROWD, STEPS = 2_000, 20
# Seconds. How long callers repeat a call that hangs, and after how many others must be as usual.
HANGING, SETTLED = 8.0, 1.0
# Seconds between two calls of a caller who ignores Retry-After.
IMPATIENCE = 0.1
# Seconds after the end of the trouble, until calls must be as fast as before.
RECOVERY = 2.0
# A busy machine makes single calls this many times as slow.
NOISE = 5
# Seconds for which it may pause: less than a call that waits for one that hangs.
PAUSE = 1.0
# What may remain of a crowd in the process: MiB that Python keeps for later, and noise.
MEMORY, SOCKETS, TASKS = 24.0, 8, 4
# Seconds. Unused connections are kept for up to half a minute, and closing one takes as long if the
# other side does not take part.
UNUSED = 90.0


@dataclass(frozen=True)
class Call:
    """A call, with its moments on the loop's clock."""

    started: float
    ended: float
    reply: Reply

    def seconds_after(self, moment: float) -> float:
        """How long the call took, without the time before this moment."""
        return self.ended - max(self.started, moment)


async def operation(api: Client, name: str) -> Send:
    """Returns a call of the operation of ACS, for an identity of its own."""
    path = f"identities/{await api.new_identity()}/tokens"
    return {
        "create": lambda: api.post("identities"),
        "issue": lambda: api.post(path, CHAT),
        "revoke": lambda: api.delete(path),
    }[name]


async def repeat(send: Send, end: float, pause: float = 0) -> list[Call]:
    """Sends the call again and again until this moment."""
    loop, calls = asyncio.get_running_loop(), []
    while (started := loop.time()) < end:
        reply = await send()
        calls.append(Call(started, loop.time(), reply))
        await asyncio.sleep(pause)
    return calls


async def repeat_all(sends: list[Send], seconds: float, pause: float = 0) -> list[Call]:
    """Sends all calls at once, each again and again."""
    end = asyncio.get_running_loop().time() + seconds
    each = await asyncio.gather(*(repeat(send, end, pause) for send in sends))
    return [call for calls in each for call in calls]


def p95(seconds: list[float]) -> float:
    """The 95th percentile."""
    return sorted(seconds)[math.ceil(0.95 * len(seconds)) - 1]


def is_as_fast(seconds: list[float], usual: list[Call]) -> bool:
    """Whether calls take no longer than usual, as far as a busy machine can show."""
    return p95(seconds) <= max(PAUSE, NOISE * p95([call.ended - call.started for call in usual]))


@pytest.mark.parametrize("hanging", ["create", "issue"])
async def test_an_operation_that_hangs_does_not_slow_down_the_others(
    api: Client, control: Control, hanging: str
) -> None:
    """As many callers as an instance gets repeat it. After a second, others are as fast as usual.

    Its own callers soon get an error with Retry-After instead of keeping a place for themselves.
    """
    names = {"create", "issue", "revoke"} - {hanging}
    others = [await operation(api, name) for name in sorted(names) * 3]
    stubborn = [await operation(api, hanging) for _ in range(CALLS_AT_ONCE)]
    usual = await repeat_all(others, HANGING / 2)
    await control.inject("hang", operation=hanging)
    settled = asyncio.get_running_loop().time() + SETTLED

    refused, served = await asyncio.gather(
        repeat_all(stubborn, HANGING, IMPATIENCE), repeat_all(others, HANGING)
    )

    await control.clear()
    await until(lambda: is_idle(control))
    for call in served:
        call.reply.assert_success(call.reply.status)
        assert call.reply.status < 300
    later = [call.seconds_after(settled) for call in served if call.ended > settled]
    assert is_as_fast(later, usual)
    for call in refused:
        call.reply.assert_problem(call.reply.status, call.reply.code)
        assert call.reply.code in {"overloaded", "acs_too_slow"}
        if call.reply.code == "overloaded":
            assert call.reply.headers["Retry-After"] == "1"


async def is_idle(control: Control) -> bool:
    """Whether ACS processes no call."""
    return await control.calls_in_flight() == 0


class Caller(asyncio.Protocol):
    """One caller of a crowd, on a connection of its own. It costs the test little time.

    Attributes:
        seconds: From the moment the request was written until the response came.
    """

    def __init__(self) -> None:
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.seconds = math.inf
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def send(self, request: bytes) -> None:
        """Send the request."""
        self._sent = time.perf_counter()
        self._transport.write(request)

    def hang_up(self) -> None:
        """Wait no longer for the response."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Stop the time at the first byte."""
        self.seconds = min(self.seconds, time.perf_counter() - self._sent)
        self._received += data

    def connection_lost(self, exc: Exception | None) -> None:
        """The response has come, or there is none."""
        self.gone.set_result(None)

    @property
    def status(self) -> int:
        """The status of the response, or 0 without one."""
        found = re.match(rb"HTTP/1.1 (\d+)", self._received)
        return int(found[1]) if found else 0


async def crowd(app: App, number: int, method: str, path: str) -> list[Caller]:
    """Sends this many requests within a second, and then waits for the responses.

    Not in one moment: on this machine, the host's own work for each would be part of the times.
    """
    loop, port = asyncio.get_running_loop(), int(app.url.rpartition(":")[2])
    request = (
        f"{method} /api/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"x-functions-key: {app.function_key}\r\nContent-Length: 0\r\n\r\n"
    ).encode()
    callers = [(await loop.create_connection(Caller, "127.0.0.1", port))[1] for _ in range(number)]
    for start in range(0, number, number // STEPS):
        for caller in callers[start : start + number // STEPS]:
            caller.send(request)
        await asyncio.sleep(1 / STEPS)
    await asyncio.wait([caller.gone for caller in callers], timeout=3 * DEADLINE)
    for caller in callers:
        caller.hang_up()
    return callers


@dataclass(frozen=True)
class Usage:
    """What the process of the app uses: MiB, sockets, and tasks on its event loop."""

    memory: float
    sockets: int
    tasks: int


async def usage(api: Client) -> Usage:
    """Asks the system and the host."""
    pid = api.app.process.pid
    tasks = await api.count_tasks()
    return Usage(mebibytes("VmRSS", pid), sockets(pid), tasks)


async def test_two_thousand_callers_of_create_while_acs_hangs(
    start_app: StartApp, control: Control
) -> None:
    """Every response comes in time, and later nothing shows that the crowd was there.

    Latency, memory, sockets and tasks are as before. ACS and the registry have the identities that
    callers were told, and after the sweep no others.
    """
    api = start_app()
    azure = api.app.azure
    in_acs, in_registry = await control.active_identities(), set(await api.all_ids("identities"))
    deleted_before = set(await api.all_ids("deleted-identities"))
    unused = await usage(api)
    creations: list[Send] = [lambda: api.post("identities")] * 4
    usual = await repeat_all(creations, RECOVERY)
    await control.inject("status", status=503)
    await crowd(api.app, CROWD, "POST", "identities")
    memory = (await usage(api)).memory
    await control.clear()
    await control.inject("hang")

    callers = await crowd(api.app, CROWD, "POST", "identities")
    await control.clear()
    recovering = await repeat_all(creations, RECOVERY)
    recovered = await repeat_all(creations, RECOVERY)

    assert {caller.status for caller in callers} <= {429, 503, 504}
    assert max(caller.seconds for caller in callers) < DEADLINE + PAUSES
    assert {call.reply.status for call in recovered} == {201}
    assert is_as_fast([call.ended - call.started for call in recovered], usual)

    remains = await last_sweeps({**clean_environment(), **azure.env, **azure.settings}, 0)
    made = {
        call.reply.json()["id"]
        for call in [*usual, *recovering, *recovered]
        if call.reply.status == 201
    }
    assert await control.active_identities() - in_acs == made
    assert remains.living - in_registry == made
    assert remains.purged > 0
    waiting = deleted_before & set(await api.all_ids("deleted-identities"))
    assert remains.unfinished == len(waiting)

    async def is_as_before() -> bool:
        now = await usage(api)
        return now.sockets <= unused.sockets + SOCKETS and now.tasks <= unused.tasks + TASKS

    await until(is_as_before, UNUSED)
    assert (await usage(api)).memory <= memory + MEMORY
