"""What a sweep of many due identities costs, whether it uses its rate limit, and what a list costs.

ACS's quota and the sweep's rate limit are those of production, in a time that runs faster: 400
deletions of the 500 that ACS allows, by default in 4.6 seconds instead of 30.
"""

import asyncio
import os
import sys
import time
from dataclasses import dataclass

import msgspec
import uvloop

from bench.process import mebibytes, run_python
from bench.product import DELETES_PER_30S, Product
from tests.support.client import Control, http_session
from tools.markdown import table

DUE = 5_000
# Due identities that belong to users, in a second sweep.
DUE_WITH_USERS = 1_000
SPEEDUP = 6.5
WINDOW = 30.0
RATE_TARGET, MEMORY_TARGET = 0.95, 1.05
# Requests to the registry. Two more if the identity belongs to a user.
REQUESTS_TARGET, REQUESTS_WITH_USER_TARGET = 3.1, 5.1


@dataclass(frozen=True)
class Sweep:
    """The figures of one sweep.

    Attributes:
        purged: Purged identities.
        seconds: Duration.
        limit: Purges per second that its rate limit allows.
        requests: Requests to the table service.
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
        """Requests to the table service."""
        return self.requests / self.purged

    @property
    def growth(self) -> float:
        """Memory at the end divided by memory after a tenth of the time."""
        return self.memory[-1] / self.memory[len(self.memory) // 10]


@dataclass(frozen=True)
class Figures:
    """A sweep over identities without users, and a short one over identities of users.

    Attributes:
        listed: The rows of a list of everything that is due.
        list_requests: The requests to the table service that the list took.
    """

    plain: Sweep
    with_users: Sweep
    listed: int
    list_requests: int


def compare(due: int, speedup: float) -> None:
    """Measure in a fresh process against the local Azure and print a table."""
    print(report(asyncio.run(_measure(due, speedup))))


async def _measure(due: int, speedup: float) -> Figures:
    from bench.stack import azure_environment  # noqa: PLC0415 -- not needed in the measured process

    with azure_environment() as environ:
        output = await run_python(environ, "-m", "bench.sweep", str(due), str(speedup))
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
            "requests to the registry per purge, beside the one to ACS",
            f"{plain.requests_per_purge:.2f}",
            f"≤ {REQUESTS_TARGET}",
            met=plain.requests_per_purge <= REQUESTS_TARGET,
        ),
        _row(
            "the same if each identity belongs to a user",
            f"{with_users.requests_per_purge:.2f}",
            f"≤ {REQUESTS_WITH_USER_TARGET}",
            met=with_users.requests_per_purge <= REQUESTS_WITH_USER_TARGET,
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
        _row(
            f"a list of {figures.listed:,} identities: requests per 1,000",
            f"{figures.list_requests / figures.listed * 1000:.2f}",
        ),
    ]
    return table((f"a sweep that purged {plain.purged:,}", "measured", "target", ""), rows)


def _row(what: str, value: str, target: str = "", *, met: bool | None = None) -> tuple[str, ...]:
    return what, value, target, {None: "", True: "met", False: "**missed**"}[met]


async def _run(due: int, speedup: float) -> None:
    """Measure in this process and print the figures as JSON."""
    async with http_session() as session:
        control, product = Control(session, os.environ), Product()
        # Only deletions are limited: creating this many is not what is measured.
        limits = {"windowSeconds": WINDOW / speedup, "limits": {"create": 1_000_000}}
        await control.ask("PUT", "quotas", limits)
        await product.create_due(DUE_WITH_USERS, with_users=True)
        with_users = await _sweep(product, control, speedup)
        await product.create_due(due, with_users=False)
        sent = product.counted.requests
        listed = await product.count_deleted()
        list_requests = product.counted.requests - sent
        plain = await _sweep(product, control, speedup)
    figures = Figures(plain, with_users, listed, list_requests)
    print(msgspec.json.encode(figures).decode(), flush=True)
    os._exit(0)  # without closing the clients, as the host ends a worker


async def _sweep(product: Product, control: Control, speedup: float) -> Sweep:
    """Measure a sweep over what is due."""
    limit = int(DELETES_PER_30S * speedup)
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
        requests=product.counted.requests - sent,
        refused=deletions - swept.purged,
        cpu=time.process_time() - cpu,
        memory=[*memory, mebibytes("VmRSS")],
    )


async def _sample(memory: list[float]) -> None:
    while True:
        memory.append(mebibytes("VmRSS"))
        await asyncio.sleep(1)


if __name__ == "__main__":
    uvloop.run(_run(int(sys.argv[1]), float(sys.argv[2])))
