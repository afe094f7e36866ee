"""What a soak came to, and whether it is as it must be."""

from collections import Counter
from dataclasses import dataclass
from statistics import median, quantiles

from bench.markdown import table
from bench.soak.accounts import Accounts
from bench.soak.crowd import Tally
from bench.soak.health import Trend
from bench.soak.settling import Remains

# So many wrong answers are shown.
SHOWN = 20
TOO_FEW_LOOKS = "the worker was not looked at often enough to tell whether it grows"


@dataclass(frozen=True)
class Soak:
    """Everything that was seen.

    Attributes:
        faults: The names of those that were caused, and
        unfelt: of those among them that nothing ran into.
        held: The identities that the users have in the end, by user id; empty where there is none.
    """

    seconds: float
    faults: list[str]
    unfelt: list[str]
    tally: Tally
    failed_looks: int
    trends: list[Trend]
    accounts: Accounts
    remains: Remains
    held: dict[str, str]

    @property
    def callers_have(self) -> set[str]:
        """The identities that the callers have in the end."""
        return set(self.held.values()) - {""}

    def defects(self) -> list[str]:
        """What is not as it must be, in words."""
        accounts, remains = self.accounts, self.remains
        numbers = {
            "wrong answers": len(self.tally.wrong),
            "users who waited though nothing failed": 0 if self.faults else self.tally.waiting,
            "faults that nothing ran into": len(self.unfelt),
            "looks at a worker that was not there": self.failed_looks,
            "figures that grew": sum(not one.is_flat for one in self.trends),
            "identities in the registry that ACS does not have": len(accounts.only_in_registry),
            "identities in ACS that nobody can explain": len(accounts.unexplained),
            "identities that a caller has and not both": len(self.callers_have - accounts.in_both),
            "identities in both that no caller has": len(accounts.in_both - self.callers_have),
            "more identities lost than creations failed": max(
                0, accounts.lost - self.tally.failed_creates
            ),
            "users whose row names another identity": len(
                {user for user, _ in self.held.items() ^ remains.claims.items()}
            ),
            "entries on the agenda after the last sweep": remains.unfinished,
        }
        missing = {
            "no sweep purged anything": accounts.swept,
            TOO_FEW_LOOKS: self.trends,
        }
        return [f"{what}: {number}" for what, number in numbers.items() if number] + [
            what for what, found in missing.items() if not found
        ]


def report(soak: Soak) -> str:
    """All of it as Markdown."""
    parts = [_answers(soak.tally), _health(soak.trends), _accounts(soak), *_wrong(soak.tally)]
    verdict = soak.defects() or ["All is as it must be."]
    return "\n\n".join([_summary(soak), *parts, "\n".join(verdict)])


def _summary(soak: Soak) -> str:
    rows = [
        ("seconds", f"{soak.seconds:.0f}"),
        ("calls", f"{soak.tally.calls:,}"),
        ("wrong answers", f"{len(soak.tally.wrong)}"),
        ("users who had to wait for a purge cut short", f"{soak.tally.waiting}"),
        ("p50 and p99 while all was well, ms", _times(soak.tally.seconds)),
        ("faults", f"{len(soak.faults)}"),
    ]
    return table(("soak", ""), rows) + "\n\n" + _counted(soak.faults)


def _times(seconds: list[float]) -> str:
    if len(seconds) < 2:  # noqa: PLR2004 -- fewer have no quantiles
        return "-"
    return f"{median(seconds) * 1000:.1f}, {quantiles(seconds, n=100)[-1] * 1000:.1f}"


def _counted(names: list[str]) -> str:
    return "\n".join(f"- {name}: {times}" for name, times in Counter(names).items())


def _answers(tally: Tally) -> str:
    statuses = sorted({status for _, status in tally.answers})
    operations = sorted({operation for operation, _ in tally.answers})
    heads = ("operation", *(str(status) if status else "no answer" for status in statuses))
    rows = [
        (operation, *(str(tally.answers[operation, status] or "") for status in statuses))
        for operation in operations
    ]
    return table(heads, rows)


def _health(trends: list[Trend]) -> str:
    rows = [
        (one.name, f"{one.early:.1f}", f"{one.late:.1f}", "yes" if one.is_flat else "**no**")
        for one in trends
    ]
    return table(("the worker", "second quarter", "last quarter", "flat"), rows)


def _accounts(soak: Soak) -> str:
    accounts = soak.accounts
    rows = [
        ("in ACS and in the registry", len(accounts.in_both)),
        ("of these a caller's", len(accounts.in_both & soak.callers_have)),
        ("in the registry only", len(accounts.only_in_registry)),
        ("in ACS only, unexplained", len(accounts.unexplained)),
        ("in ACS only: ACS did not get to tell", len(accounts.never_told)),
        ("in ACS only: the worker was killed before the very next call", len(accounts.cut_short)),
        ("in ACS only: neither recorded nor deleted, named in the log", len(accounts.given_up)),
        ("purged by the workers' sweeps", accounts.swept),
        ("purged by the last sweep", soak.remains.purged),
        ("left on the agenda", soak.remains.unfinished),
    ]
    return table(("identities", ""), [(what, f"{number:,}") for what, number in rows])


def _wrong(tally: Tally) -> list[str]:
    return ["\n".join(tally.wrong[:SHOWN])] if tally.wrong else []
