"""The rules that the operations keep, and what happens without each of them."""

from typing import NamedTuple

from tests.exploration import changes
from tests.exploration.decisions import Budget
from tests.exploration.registries import Blind, Careless, Torn
from tests.exploration.scenarios import CREATE, Scenario
from tests.exploration.stage import GatedRegistry
from tests.exploration.variant import Change


class Taken(NamedTuple):
    """A rule taken away.

    Attributes:
        scenario: Where it is missed.
        faults: How many faults that takes.
        fact: What then is said to have happened, in part.
        changes: The changed source.
        registry: How the registry writes then.
    """

    scenario: Scenario
    faults: int
    fact: str
    changes: tuple[Change, ...] = ()
    registry: type[GatedRegistry] = GatedRegistry

    @property
    def budget(self) -> Budget:
        """What may happen in the scenario."""
        return Budget(self.faults)


LIVES, GIVEN_OUT = "is answered, and", "is given out, and"
NO_SUCH, NO_ROW, NO_CLAIM = "ACS has no such", "in ACS, and has no row", "does not name it"

ISSUING = Scenario(("issue", "delete"), "an active one")
DELETING = Scenario(("delete", "delete"), "an unrevoked one")
DELETING_ANEW = Scenario(("delete", "restore", "issue", "delete"), "an unrevoked one")
CREATING = Scenario(("create", "sweep"))
CREATING_FOR_USER = Scenario((CREATE, "sweep"))
ON_A_DEAD_CLAIM = Scenario((CREATE, CREATE), "a dangling claim")
RESTORING = Scenario(("restore", "purge"), "a deleted one")
RESTORING_LATE = Scenario(("restore", "sweep"), "a deleted one, due")
UNKNOWN = Scenario(("delete", "restore"))
PURGING = Scenario(("purge", "purge"), "a deleted one")
SWEEPING = Scenario(("sweep", "sweep"), "a deleted one, due")
SUCCEEDING = Scenario(("purge", "sweep", CREATE), "a deleted one, due")

RULES: dict[str, Taken] = {
    "issue reads the mark after minting": Taken(ISSUING, 0, GIVEN_OUT, changes.READ_FIRST),
    "issue drops the token when the mark cannot be read": Taken(
        ISSUING, 1, GIVEN_OUT, changes.READ_OR_NOT
    ),
    "delete again revokes before it answers": Taken(DELETING, 0, LIVES, changes.ANSWER_UNREVOKED),
    "after a refused record delete revokes anew": Taken(
        DELETING_ANEW, 0, LIVES, changes.WRITE_YES_ONLY
    ),
    "a row is born creating": Taken(CREATING, 1, NO_SUCH, changes.BORN_ACTIVE),
    "a row is born creating, for a user too": Taken(
        CREATING_FOR_USER, 1, NO_CLAIM, changes.BORN_ACTIVE
    ),
    "the identity row comes before the user row": Taken(
        CREATING_FOR_USER, 1, NO_ROW, changes.CLAIM_FIRST
    ),
    "what could not be recorded is deleted in ACS": Taken(
        CREATING, 1, NO_ROW, changes.NOT_GIVEN_BACK
    ),
    "the claim comes before the delete in ACS": Taken(RESTORING, 0, NO_SUCH, changes.NO_CLAIM),
    "the user row goes out before the identity row": Taken(
        PURGING, 1, "which is gone", changes.ROW_FIRST
    ),
    "a dangling user row counts as absent": Taken(
        ON_A_DEAD_CLAIM, 0, "gets no identity", changes.DANGLING_IS_BUSY
    ),
    "a user row is deleted only if it names the identity": Taken(
        SUCCEEDING, 0, NO_CLAIM, changes.ANY_CLAIM
    ),
    "a user row is deleted only as it was read": Taken(SUCCEEDING, 0, NO_CLAIM, registry=Careless),
    "restore finishes the revocation first": Taken(UNKNOWN, 1, NO_SUCH, changes.RESTORE_UNREVOKED),
    "an adopted row that ACS does not know goes out": Taken(
        UNKNOWN, 0, NO_SUCH, changes.PHANTOM_STAYS
    ),
    "row and agenda entry change in one batch": Taken(ISSUING, 1, "forgotten", registry=Torn),
    "an identity row is changed only as it was read": Taken(
        RESTORING_LATE, 0, "it is gone", registry=Blind
    ),
    "a purge counts only when it was one's own": Taken(
        SWEEPING, 0, "has not done", changes.REMOVED_OR_NOT
    ),
    "a purge is answered only when it was done": Taken(
        RESTORING, 0, "is not gone", changes.PURGED_OR_NOT
    ),
}
