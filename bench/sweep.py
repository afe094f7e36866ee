"""What a sweep of 5,000 due identities costs, and whether it uses its rate limit.

ACS's quota and the sweep's rate limit are those of production, in a time that runs `SPEEDUP` times
faster: 400 deletions of the 500 that ACS allows, in 4.6 seconds instead of 30.
"""

import asyncio
import os
import time
from dataclasses import dataclass

import msgspec

from bench.process import mebibytes, run_python
from bench.product import DELETES_PER_30S, Product
from tests.support.client import Control, http_session
from tools.markdown import table

DUE = 5000
# Due identities that belong to users, in a second sweep.
DUE_WITH_USERS = 200
SPEEDUP = 6.5
WINDOW = 30.0
RATE_TARGET, REQUESTS_TARGET, MEMORY_TARGET = 0.95, 5.0, 1.05


@dataclass(frozen=True)
class Sweep:
    """The figures of one sweep.

    Attributes:
        purged: Purged identities.
        seconds: Duration.
        limit: Purges per second that its rate limit allows.
        requests: Requests to the table service and to ACS.
        refused: Deletions that ACS refused or that failed in another way.
        cpu: CPU seconds of its process.
        memory: Resident memory of its process in MiB, once a second.
    """

    purged: int
    seconds: float
    limit: float
    requests: int
    refused: int
    cpu: float
    memory: list[float]

    @property
    def rate(self) -> float:
        """Purges per second, as a share of the limit."""
        return self.purged / self.seconds / self.limit

    @property
    def requests_per_purge(self) -> float:
        """Requests to the table service and to ACS together."""
        return self.requests / self.purged

    @property
    def growth(self) -> float:
        """Memory at the end divided by memory after a tenth of the time."""
        return self.memory[-1] / self.memory[len(self.memory) // 10]


@dataclass(frozen=True)
class Figures:
    """A sweep over identities without users, and a short one over identities of users."""

    plain: Sweep
    with_users: Sweep


def compare() -> None:
    """Measure in a fresh process against the local Azure and print a table."""
    print(report(asyncio.run(_measure())))


async def _measure() -> Figures:
    from bench.stack import azure_environment  # noqa: PLC0415 -- not needed in the measured process

    with azure_environment() as environ:
        output = await run_python(environ, "-m", "bench.sweep")
    return msgspec.json.decode(output, type=Figures)


def report(figures: Figures) -> str:
    """Return the figures as a table."""
    plain, with_users = figures.plain, figures.with_users
    rows = [
        _row(
            f"rate, of the limit of {plain.limit:.0f} per second",
            f"{plain.rate:.1%}",
            f"≥ {RATE_TARGET:.0%}",
            met=plain.rate >= RATE_TARGET,
        ),
        _row(
            "requests per purge, to the registry and to ACS",
            f"{plain.requests_per_purge:.2f}",
            f"≤ {REQUESTS_TARGET:.0f}",
            met=plain.requests_per_purge <= REQUESTS_TARGET,
        ),
        _row(
            "requests per purge if each belongs to a user", f"{with_users.requests_per_purge:.2f}"
        ),
        _row("deletions that ACS refused", str(plain.refused), "0", met=not plain.refused),
        _row(
            "memory in MiB after a tenth of the time, and at the end",
            f"{plain.memory[len(plain.memory) // 10]:.1f}, {plain.memory[-1]:.1f}",
            f"≤ {MEMORY_TARGET:.2f} times",
            met=plain.growth <= MEMORY_TARGET,
        ),
        _row("CPU per purge, ms", f"{plain.cpu / plain.purged * 1000:.1f}"),
        _row("seconds", f"{plain.seconds:.1f}"),
    ]
    return table((f"a sweep of {plain.purged:,} due", "measured", "target", ""), rows)


def _row(what: str, value: str, target: str = "", *, met: bool | None = None) -> tuple[str, ...]:
    return what, value, target, {None: "", True: "met", False: "**missed**"}[met]


async def _run() -> None:
    """Measure in this process and print the figures as JSON."""
    async with http_session() as session:
        control, product = Control(session, os.environ), Product()
        # Only deletions are limited: creating this many is not what is measured.
        limits = {"windowSeconds": WINDOW / SPEEDUP, "limits": {"create": 1_000_000}}
        await control.ask("PUT", "quotas", limits)
        with_users = await _sweep(product, control, DUE_WITH_USERS, with_users=True)
        plain = await _sweep(product, control, DUE, with_users=False)
    print(msgspec.json.encode(Figures(plain, with_users)).decode(), flush=True)
    os._exit(0)  # without closing the clients, as the host ends a worker


async def _sweep(product: Product, control: Control, number: int, *, with_users: bool) -> Sweep:
    """Make this many identities due and measure the sweep over them."""
    await product.create_due(number, with_users=with_users)
    limit = int(DELETES_PER_30S * SPEEDUP)
    deletions_before = await control.attempts("delete")
    sent, cpu = product.counted.requests, time.process_time()
    memory: list[float] = []
    sampling = asyncio.create_task(_sample(memory))
    swept = await product.sweep(limit)
    sampling.cancel()
    deletions = await control.attempts("delete") - deletions_before
    return Sweep(
        purged=swept.purged,
        seconds=swept.seconds,
        limit=limit / WINDOW,
        requests=product.counted.requests - sent + deletions,
        refused=deletions - swept.purged,
        cpu=time.process_time() - cpu,
        memory=[*memory, mebibytes("VmRSS")],
    )


async def _sample(memory: list[float]) -> None:
    while True:
        memory.append(mebibytes("VmRSS"))
        await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(_run())
