"""In the end: the identities of ACS, of the registry and of the callers, one by one."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_CREATED = re.compile(r"identity_created identity_id=(\S+) invocation_id=(\S+)")
_LOST = re.compile(r"identity_lost identity_id=(\S+)")
_PURGED = re.compile(r"sweep_finished .*\bpurged=(\d+)")
_ENDED = re.compile(r"(?:operation_finished|operation_finished_late) .*\binvocation_id=(\S+)")


@dataclass(frozen=True)
class Accounts:
    """Who is where.

    Attributes:
        in_both: Ids that ACS and the registry both have.
        only_in_registry: Ids that ACS does not have. There must be none.
        never_told: Ids whose creation ACS did not get to tell: the app cannot know them.
        cut_short: Ids whose creation was killed before it was recorded.
        given_up: Ids that neither the table would record nor ACS delete again; the log names them.
        unexplained: The rest of what only ACS has. There must be none.
        swept: How many identities the workers' sweeps purged.
    """

    in_both: set[str]
    only_in_registry: set[str]
    never_told: set[str]
    cut_short: set[str]
    given_up: set[str]
    unexplained: set[str]
    swept: int

    @property
    def lost(self) -> int:
        """How many identities are in ACS and known to nobody."""
        return len(self.never_told) + len(self.cut_short) + len(self.given_up)


def account_for(in_acs: set[str], in_registry: set[str], logs: Iterable[str]) -> Accounts:
    """Account for every identity, by the logs of all the workers there were.

    A creation whose invocation never ended was killed: workers end in no other way.
    """
    log = "\n".join(logs)
    created = dict(_CREATED.findall(log))
    lost, ended = set(_LOST.findall(log)), set(_ENDED.findall(log))
    strays = in_acs - in_registry
    never_told = strays - created.keys()
    given_up = strays & lost
    cut_short = {one for one in strays - never_told - given_up if created[one] not in ended}
    return Accounts(
        in_both=in_acs & in_registry,
        only_in_registry=in_registry - in_acs,
        never_told=never_told,
        cut_short=cut_short,
        given_up=given_up,
        unexplained=strays - never_told - given_up - cut_short,
        swept=sum(map(int, _PURGED.findall(log))),
    )
