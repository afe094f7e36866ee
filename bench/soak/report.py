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


@dataclass(frozen=True)
class Soak:
    """Everything that was seen.

    Attributes:
        callers_have: The identities that the callers have in the end.
    """

    seconds: float
    faults: list[str]
    tally: Tally
    trends: list[Trend]
    accounts: Accounts
    remains: Remains
    callers_have: set[str]

    def faults_found(self) -> list[str]:
        """What is not as it must be, in words."""
        accounts = self.accounts
        checks = {
            "wrong answers": self.tally.wrong,
            "identities in the registry that ACS does not have": accounts.only_in_registry,
            "identities in ACS that nobody can explain": accounts.unexplained,
            "identities that a caller has and not both": self.callers_have - accounts.in_both,
            "identities in both that no caller has": accounts.in_both - self.callers_have,
            "more identities lost than creations failed": range(
                accounts.lost - self.tally.failed_creates
            ),
            "entries on the agenda after the last sweep": range(self.remains.unfinished),
            "looks at the worker that are missing": range(not self.trends),
            "figures that grew": [one for one in self.trends if not one.is_flat],
        }
        return [f"{what}: {len(found)}" for what, found in checks.items() if len(found)]


def report(soak: Soak) -> str:
    """All of it as Markdown."""
    parts = [_answers(soak.tally), _health(soak.trends), _accounts(soak), *_wrong(soak.tally)]
    verdict = soak.faults_found() or ["All is as it must be."]
    return "\n\n".join([_summary(soak), *parts, "\n".join(verdict)])


def _summary(soak: Soak) -> str:
    times = sorted(soak.tally.seconds)
    slowest = quantiles(times, n=100)[-1]
    rows = [
        ("seconds", f"{soak.seconds:.0f}"),
        ("calls", f"{soak.tally.calls:,}"),
        ("wrong answers", f"{len(soak.tally.wrong)}"),
        ("p50 and p99 while all was well, ms", f"{median(times) * 1000:.1f}, {slowest * 1000:.1f}"),
        ("faults", f"{len(soak.faults)}: {_counted(soak.faults)}"),
    ]
    return table(("soak", ""), rows)


def _counted(names: list[str]) -> str:
    return ", ".join(f"{name} ({times})" for name, times in Counter(names).items())


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
        ("purged by the last sweep", soak.remains.purged),
        ("left on the agenda", soak.remains.unfinished),
    ]
    return table(("identities", ""), [(what, f"{number:,}") for what, number in rows])


def _wrong(tally: Tally) -> list[str]:
    return ["\n".join(tally.wrong[:SHOWN])] if tally.wrong else []
