"""`python -m bench.memory CONTENDER`: the peak of this process's memory in MiB."""

import asyncio
import os
import sys

from bench.load import Call, one_round
from bench.names import APP, DEFAULTS
from bench.process import mebibytes

CALLS = 400
AT_ONCE = 16


async def main(contender: str) -> None:
    """Issue tokens as one contender, and nothing else of ours."""
    call = await _issue(contender)
    await one_round(call, CALLS, AT_ONCE)
    print(mebibytes("VmHWM"), flush=True)
    os._exit(0)  # as the host ends a worker: nobody closes the clients


async def _issue(contender: str) -> Call:
    if contender == APP:
        from bench.app import App  # noqa: PLC0415 -- a contender's process holds its own modules

        app = App()
        await app.prepare([await app.create()])
        return app.issue
    from bench.bare import Bare  # noqa: PLC0415 -- the same

    bare = Bare()
    await bare.prepare([])
    await bare.prepare([await bare.create()])
    return bare.issue if contender == DEFAULTS else bare.issue_and_read


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
