"""`python -m bench faults`: what callers see of each fault, how soon, and what it costs at ACS."""

import tempfile
from pathlib import Path

from bench import ROOT
from bench.callers import Outcome
from bench.faulty_stack import Seen, faulty_stack
from bench.markdown import table
from local.workspace import Workspace

DOCUMENT = ROOT / "docs" / "faults.md"
BEGIN, END = "<!-- begin: make faults -->", "<!-- end -->"
HEADS = ("fault", "operation", "answer", "code", "Retry-After", "seconds", "calls to ACS")


async def write() -> None:
    """Measure, print the table, and write it into the document."""
    with tempfile.TemporaryDirectory() as folder, Workspace(Path(folder)).locked() as workspace:
        async with faulty_stack(workspace) as stack:
            seen = [*await stack.faults(), *await stack.outage(), *await stack.troubles()]
    text = table(HEADS, [row for fault, calls in seen for row in _rows(fault, calls)])
    print(text)
    _write(text)


def _rows(fault: str, seen: list[Seen]) -> list[tuple[str, ...]]:
    """One row for all operations that fare alike."""
    alike: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome, calls in seen:
        fate = (str(outcome.status), outcome.code, outcome.retry_after, str(calls))
        alike.setdefault(fate, []).append(outcome)
    return [_row(fault, fate, outcomes) for fate, outcomes in alike.items()]


def _row(fault: str, fate: tuple[str, ...], outcomes: list[Outcome]) -> tuple[str, ...]:
    names = ", ".join(outcome.operation.name for outcome in outcomes)
    longest = max(outcome.seconds for outcome in outcomes)
    seconds = f"{longest:.1f}" if longest >= 0.1 else "under 0.1"  # noqa: PLR2004 -- one digit
    *answer, calls = fate
    return fault, names, *answer, seconds, calls


def _write(text: str) -> None:
    """Put the table between the document's marks."""
    document = DOCUMENT.read_text()
    head, _, rest = document.partition(BEGIN)
    _, _, tail = rest.partition(END)
    DOCUMENT.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}")
