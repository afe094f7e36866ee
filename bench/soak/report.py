"""The result of a soak: what is wrong, and the tables."""

from collections import Counter
from dataclasses import dataclass
from statistics import median, quantiles

from bench.product import Remains
from bench.soak.accounting import Accounts
from bench.soak.callers import Tally
from bench.soak.health import Trend
from tools.markdown import table

# Maximum number of wrong responses that are shown.
SHOWN = 20
TOO_FEW_SAMPLES = "too few samples of the worker to see whether it grows"


@dataclass(frozen=True)
class Soak:
    """Everything that was observed.

    Attributes:
        faults: The names of the injected faults.
        unused: The names of those that no call met.
        failed_samples: Number of times the worker could not be reached without a fault.
        identities: The final living identity of each user by user id; empty if there is none.
    """

    seconds: float
    faults: list[str]
    unused: list[str]
    tally: Tally
    failed_samples: int
    trends: list[Trend]
    accounts: Accounts
    remains: Remains
    identities: dict[str, str]

    @property
    def of_callers(self) -> set[str]:
        """The identities that the callers know."""
        return set(self.identities.values()) - {""}

    def defects(self) -> list[str]:
        """Return what is wrong, in words."""
        accounts, remains = self.accounts, self.remains
        numbers = {
            "wrong responses": len(self.tally.wrong),
            "identities that ACS has lost without any fault": 0 if self.faults else self.tally.gone,
            "faults that no call met": len(self.unused),
            "samples of a worker that was not reachable": self.failed_samples,
            "figures that grew": sum(not one.is_flat for one in self.trends),
            "identities in the registry that are not in ACS": len(accounts.only_in_registry),
            "identities in ACS without explanation": len(accounts.unexplained),
            "callers' identities that are not in both": len(self.of_callers - accounts.in_both),
            "identities in both that no caller has": len(accounts.in_both - self.of_callers),
            "identities lost beyond the failed creations": max(
                0, accounts.lost - self.tally.failed_creates
            ),
            "users whose row names another identity": len(
                {user for user, _ in self.identities.items() ^ remains.user_rows.items()}
            ),
            "due entries after the last sweep": remains.unfinished,
        }
        missing = {
            "no sweep purged anything": accounts.swept,
            TOO_FEW_SAMPLES: self.trends,
        }
        return [f"{what}: {number}" for what, number in numbers.items() if number] + [
            what for what, found in missing.items() if not found
        ]


def report(soak: Soak) -> str:
    """Return everything as Markdown."""
    parts = [_responses(soak.tally), _health(soak.trends), _accounts(soak), *_wrong(soak.tally)]
    verdict = soak.defects() or ["Everything is as it must be."]
    return "\n\n".join([_summary(soak), *parts, "\n".join(verdict)])


def _summary(soak: Soak) -> str:
    rows = [
        ("seconds", f"{soak.seconds:.0f}"),
        ("calls", f"{soak.tally.calls:,}"),
        ("wrong responses", f"{len(soak.tally.wrong)}"),
        ("identities that a purge with a lost response deleted", f"{soak.tally.gone}"),
        ("p50 and p99 without faults, ms", _times(soak.tally.seconds)),
        ("faults", f"{len(soak.faults)}"),
    ]
    return table(("soak", ""), rows) + "\n\n" + _counted(soak.faults)


def _times(seconds: list[float]) -> str:
    if len(seconds) < 2:  # noqa: PLR2004 -- fewer have no quantiles
        return "-"
    return f"{median(seconds) * 1000:.1f}, {quantiles(seconds, n=100)[-1] * 1000:.1f}"


def _counted(names: list[str]) -> str:
    return "\n".join(f"- {name}: {times}" for name, times in Counter(names).items())


def _responses(tally: Tally) -> str:
    statuses = sorted({status for _, status in tally.responses})
    operations = sorted({operation for operation, _ in tally.responses})
    heads = ("operation", *(str(status) if status else "no response" for status in statuses))
    rows = [
        (operation, *(str(tally.responses[operation, status] or "") for status in statuses))
        for operation in operations
    ]
    return table(heads, rows)


def _health(trends: list[Trend]) -> str:
    rows = [
        (one.name, f"{one.early:.1f}", f"{one.late:.1f}", "yes" if one.is_flat else "**no**")
        for one in trends
    ]
    return table(("the worker", "second quarter, most", "last quarter, least", "flat"), rows)


def _accounts(soak: Soak) -> str:
    accounts = soak.accounts
    rows = [
        ("in ACS and in the registry", len(accounts.in_both)),
        ("of these, known to a caller", len(accounts.in_both & soak.of_callers)),
        ("in the registry only", len(accounts.only_in_registry)),
        ("in ACS only, unexplained", len(accounts.unexplained)),
        ("in ACS only: the response of the creation was lost", len(accounts.unreported)),
        ("in ACS only: the worker was killed before the next call", len(accounts.killed)),
        ("in ACS only: neither recorded nor deleted, named in the log", len(accounts.logged_lost)),
        ("purged by the workers' sweeps", accounts.swept),
        ("purged by the last sweeps", soak.remains.purged),
        ("due entries left", soak.remains.unfinished),
    ]
    return table(("identities", ""), [(what, f"{number:,}") for what, number in rows])


def _wrong(tally: Tally) -> list[str]:
    return ["\n".join(tally.wrong[:SHOWN])] if tally.wrong else []
