"""All that one emulated Communication Services resource remembers."""

from collections.abc import Callable
from uuid import uuid4

from local.acs.directory import Directory
from local.acs.faults import FaultPlan
from local.acs.holds import Holds
from local.acs.ledger import Ledger
from local.acs.quotas import Quotas
from local.acs.tokens import Signer


class Resource:
    """One resource: its identities and signing key, and what a test has asked of it.

    `clock` gives the time in seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.id = str(uuid4())
        self.clock = clock
        self.signer = Signer(self.id)
        self.directory = Directory(self.id)
        self.ledger = Ledger()
        self.quotas = Quotas(clock)
        self.plan = FaultPlan()
        self.holds = Holds()

    def reset(self) -> None:
        """Forget identities, counts, faults and quotas; drop the calls that are kept waiting."""
        self.directory.clear()
        self.ledger.clear()
        self.quotas.enforce(None)
        self.plan.clear()
        self.holds.release(proceed=False)
