"""After the load: the last sweeps, and an explanation for every identity in ACS and the registry.

`python -m bench.soak.accounting USERS` runs the last sweeps in the measured environment, with the
clock more than a day ahead: all leases have expired, failed entries are due again, and no identity
is too young to be considered gone. It prints what is left as JSON.
"""

import asyncio
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from bench.process import run_python
from bench.product import Product, Remains
from bench.soak.user import user_id

AHEAD = timedelta(hours=26)
# A sweep leaves entries that others changed meanwhile to the next; here there are no others.
SWEEPS = 3
# No limit: the emulator enforces no quota here.
UNLIMITED = 1_000_000

_CREATED = re.compile(r"identity_created identity_id=(\S+) .*\binvocation_id=(\S+)")
_LOST = re.compile(r"identity_lost identity_id=(\S+)")
_PURGED = re.compile(r"(?:sweep_finished|sweep_failed) .*\bpurged=(\d+)")
_FINISHED = re.compile(r"(?:operation_finished|operation_finished_late) .*\binvocation_id=(\S+)")


@dataclass(frozen=True)
class Accounts:
    """The identities of ACS and the registry, by how they are explained.

    Attributes:
        in_both: Ids that are in ACS and in the registry.
        only_in_registry: Ids that ACS does not have. There must be none.
        unreported: Ids whose creation was never reported to the app: ACS's response was lost.
        killed: Ids whose creation was killed before it was recorded.
        logged_lost: Ids that could neither be recorded nor deleted again; the log names them.
        unexplained: All other ids that only ACS has. There must be none.
        swept: Number of identities that the workers' sweeps purged.
    """

    in_both: set[str]
    only_in_registry: set[str]
    unreported: set[str]
    killed: set[str]
    logged_lost: set[str]
    unexplained: set[str]
    swept: int

    @property
    def lost(self) -> int:
        """Number of identities in ACS that nothing refers to."""
        return len(self.unreported) + len(self.killed) + len(self.logged_lost)


def account_for(in_acs: set[str], in_registry: set[str], logs: Iterable[str]) -> Accounts:
    """Explain every identity by the logs of all workers.

    A creation whose invocation never finished was killed: workers end in no other way.
    """
    log = "\n".join(logs)
    created = dict(_CREATED.findall(log))
    lost, finished = set(_LOST.findall(log)), set(_FINISHED.findall(log))
    unknown = in_acs - in_registry
    unreported = unknown - created.keys()
    logged_lost = unknown & lost
    killed = {one for one in unknown - unreported - logged_lost if created[one] not in finished}
    return Accounts(
        in_both=in_acs & in_registry,
        only_in_registry=in_registry - in_acs,
        unreported=unreported,
        killed=killed,
        logged_lost=logged_lost,
        unexplained=unknown - unreported - logged_lost - killed,
        swept=sum(map(int, _PURGED.findall(log))),
    )


async def last_sweeps(environ: Mapping[str, str], users: int) -> Remains:
    """Run the last sweeps in a fresh process; return what is left."""
    output = await run_python(environ, "-m", "bench.soak.accounting", str(users))
    return msgspec.json.decode(output, type=Remains)


async def _run(users: int) -> None:
    product = Product()
    purged = 0
    for _ in range(SWEEPS):
        swept = await product.sweep(UNLIMITED, AHEAD)
        purged += swept.purged
        if not swept.backlog:
            break
    user_ids = (user_id(number + 1) for number in range(users))
    remains = await product.remains(user_ids, purged=purged)
    print(msgspec.json.encode(remains).decode(), flush=True)
    os._exit(0)  # without closing the clients, as the host ends a worker


if __name__ == "__main__":
    asyncio.run(_run(int(sys.argv[1])))
