"""`python -m bench.work`: what the app's calls cost beside the SDKs', as JSON.

All contenders share this process and its event loop and take turns; what they call runs elsewhere.
"""

import asyncio
import dataclasses
import json
import logging
import os
from collections.abc import Mapping
from functools import partial

from bench.app import App
from bench.bare import Bare
from bench.control import Control
from bench.figures import Series, Work
from bench.load import Call, Load, contest
from bench.names import (
    APP,
    APP_WITHOUT_READ,
    BOTH_DEFAULTS,
    BOTH_TUNED,
    DEFAULTS,
    DEFAULTS_AND_READ,
    TUNED,
    TUNED_AND_READ,
)

IDENTITIES = 32
TOKENS = (
    Load(1, calls=80),
    Load(16, calls=320),
    Load(1, calls=30, delay_ms=20),
    Load(16, calls=240, delay_ms=20),
)
LIVES = Load(16, calls=96)
# Seconds that a contest may take, more or less: on a busy machine there are fewer rounds.
TOKEN_SECONDS = 22
LIFE_SECONDS = 10
# What makes azure-core leave the environment alone.
TUNING = {"use_env_settings": False}


async def main() -> None:
    """Measure everything, and print it."""
    _log_as_a_worker_does()
    environ = os.environ
    control = Control(
        environ["ACS_CONTROL_URL"], environ["ACS_CONTROL_KEY"], environ["SSL_CERT_FILE"]
    )
    async with control:
        app, without = App(), App(reads_the_table=False)
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
        tokens = await _tokens(calls, control)
        lives: dict[str, App | Bare] = {
            APP: app,
            BOTH_DEFAULTS: defaults,
            BOTH_TUNED: tuned,
        }
        creates, deletes = await _lives(lives)
    print(json.dumps(dataclasses.asdict(Work(tokens, creates, deletes))), flush=True)
    os._exit(0)  # as the host ends a worker: nobody closes the clients


def _log_as_a_worker_does() -> None:
    """Lines of INFO are made, but for the SDKs' own: the app turns those off."""
    logging.basicConfig(level=logging.INFO, handlers=[_Formatter()])
    logging.getLogger("azure").setLevel(logging.WARNING)


class _Formatter(logging.Handler):
    """Makes the line that a worker would send to the host."""

    def emit(self, record: logging.LogRecord) -> None:
        """Make it."""
        self.format(record)


async def _tokens(calls: Mapping[str, Call], control: Control) -> list[Series]:
    series: list[Series] = []
    for load in TOKENS:
        await control.delay(load.delay_ms)
        series += await contest(calls, load, TOKEN_SECONDS)
    await control.delay(0)
    return series


async def _lives(contenders: Mapping[str, App | Bare]) -> tuple[list[Series], list[Series]]:
    """Identities are created in one contest, and the same ones deleted in the next."""
    made: dict[str, list[str]] = {name: [] for name in contenders}

    async def create(name: str) -> None:
        made[name].append(await contenders[name].create())

    async def delete(name: str) -> None:
        await contenders[name].delete(made[name].pop())

    creating = {name: partial(create, name) for name in contenders}
    deleting = {name: partial(delete, name) for name in contenders}
    creates = await contest(creating, LIVES, LIFE_SECONDS)
    deletes = await contest(deleting, LIVES, LIFE_SECONDS, most=len(creates[0].rounds))
    return creates, deletes


if __name__ == "__main__":
    asyncio.run(main())
