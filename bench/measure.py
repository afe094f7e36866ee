"""`python -m bench.measure (work | memory CONTENDER)`: runs inside the measured process.

`work` prints what the app's calls cost compared with the SDKs' as JSON: all contenders share the
process and its event loop, and everything they call runs elsewhere. `memory` prints the process's
peak memory in MiB after one contender's work.
"""

import asyncio
import dataclasses
import json
import logging
import os
import sys
from collections.abc import Mapping
from functools import partial

from bench.contenders import (
    APP,
    APP_WITHOUT_READ,
    BOTH_DEFAULTS,
    BOTH_TUNED,
    DEFAULTS,
    DEFAULTS_AND_READ,
    TUNED,
    TUNED_AND_READ,
    App,
    Bare,
)
from bench.load import Call, Load, Series, contest, one_round
from bench.process import mebibytes

IDENTITIES = 32
TOKENS = (
    Load(1, calls=80),
    Load(16, calls=320),
    Load(1, calls=30, delay_ms=20),
    Load(16, calls=240, delay_ms=20),
)
LIFECYCLE = Load(16, calls=96)
MEMORY = Load(16, calls=400)
# Approximate seconds for one contest: on a busy machine there are fewer rounds.
TOKEN_SECONDS = 22
LIFECYCLE_SECONDS = 10
# Makes azure-core ignore the environment.
TUNING = {"use_env_settings": False}


@dataclasses.dataclass(frozen=True)
class Work:
    """The series of one measured process: issuing tokens, creating, deleting."""

    tokens: list[Series]
    creates: list[Series]
    deletes: list[Series]


async def _work() -> None:
    """Measure all contenders and print the figures."""
    from tests.support.client import Control, http_session  # noqa: PLC0415 -- would count as memory of the contenders

    _log_like_a_worker()
    async with http_session() as session:
        control = Control(session, os.environ)
        app, without = App(), App(reads_table=False)
        defaults, tuned = Bare(), Bare(**TUNING)
        identities = [await app.create() for _ in range(IDENTITIES)]
        for contender in (app, without, defaults, tuned):
            await contender.prepare(identities)
        calls: dict[str, Call] = {
            APP: app.issue,
            APP_WITHOUT_READ: without.issue,
            DEFAULTS: defaults.issue,
            TUNED: tuned.issue,
            DEFAULTS_AND_READ: defaults.issue_and_read,
            TUNED_AND_READ: tuned.issue_and_read,
        }
        tokens: list[Series] = []
        for load in TOKENS:
            await control.delay(load.delay_ms / 1000)
            tokens += await contest(calls, load, TOKEN_SECONDS)
        await control.delay(0)
        creates, deletes = await _lifecycle({APP: app, BOTH_DEFAULTS: defaults, BOTH_TUNED: tuned})
    print(json.dumps(dataclasses.asdict(Work(tokens, creates, deletes))), flush=True)
    os._exit(0)  # without closing the clients, as the host ends a worker


def _log_like_a_worker() -> None:
    """Format INFO lines as a worker would, except those of the SDKs, which the app turns off."""
    logging.basicConfig(level=logging.INFO, handlers=[_Formatter()])
    logging.getLogger("azure").setLevel(logging.WARNING)


class _Formatter(logging.Handler):
    """Formats each line that a worker would send to the host, and drops it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Format the line."""
        self.format(record)


async def _lifecycle(contenders: Mapping[str, App | Bare]) -> tuple[list[Series], list[Series]]:
    """Create identities in one contest and delete the same ones in the next."""
    created: dict[str, list[str]] = {name: [] for name in contenders}

    async def create(name: str) -> None:
        created[name].append(await contenders[name].create())

    async def delete(name: str) -> None:
        await contenders[name].delete(created[name].pop())

    creating = {name: partial(create, name) for name in contenders}
    deleting = {name: partial(delete, name) for name in contenders}
    creates = await contest(creating, LIFECYCLE, LIFECYCLE_SECONDS)
    rounds = len(creates[0].rounds)
    deletes = await contest(deleting, LIFECYCLE, LIFECYCLE_SECONDS, max_rounds=rounds)
    return creates, deletes


async def _memory(contender: str) -> None:
    """Issue tokens as one contender and print the peak memory."""
    call = await _issue(contender)
    await one_round(call, MEMORY.calls, MEMORY.at_once)
    print(mebibytes("VmHWM"), flush=True)
    os._exit(0)  # without closing the clients, as the host ends a worker


async def _issue(contender: str) -> Call:
    if contender == APP:
        app = App()
        await app.prepare([await app.create()])
        return app.issue
    bare = Bare()
    await bare.prepare([])
    await bare.prepare([await bare.create()])
    return bare.issue if contender == DEFAULTS else bare.issue_and_read


if __name__ == "__main__":
    asyncio.run(_work() if sys.argv[1] == "work" else _memory(sys.argv[2]))
