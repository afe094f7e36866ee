"""What the commands share: the app they call, questions, and the work on whole files."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from acsid import transfer
from acsid.client import PAGE_SIZE, Answer, Client
from acsid.display import Screen
from acsid.exports import Writer, check_destination, write_export
from acsid.failures import Exit, Failure, usage
from acsid.profile import Target, find_target
from acsid.records import Reader, RecordFile, Summary, bad_lines, checked_identity, counted

# Seconds for which one request is repeated, in a command without a file, and in one with a file.
PATIENCE, BULK_PATIENCE = 30.0, 300.0
IDENTITIES = ("identity", "identities")
# Identities that are shown before all of them are restored.
_EXAMPLES = 3
# Rows of a table, unless --limit says otherwise.
_ROWS = 100

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]
Limit = Annotated[
    int | None,
    typer.Option(min=0, help=f"Rows at most; 0: all. Without it {_ROWS}, and all with --json."),
]
Rate = Annotated[float, typer.Option(min=0.01, help="Requests per second at most.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Go on without the bad rows.")]


@dataclass(frozen=True)
class Choice:
    """What the options before the command say."""

    profile: str | None
    key_file: Path | None
    entra: bool


class Session:
    """One command: the app that it calls, and the screen that it writes to."""

    def __init__(
        self, choice: Choice, screen: Screen, rate: float, patience: float, *, dry_run: bool
    ) -> None:
        self.screen = screen
        self.dry_run = dry_run
        self._choice = choice
        self._rate = rate
        self._patience = patience

    def target(self, *, needs_key: bool = True) -> Target:
        """Return the app to call.

        Raises:
            Failure: none is known.
        """
        choice = self._choice
        return find_target(
            os.environ,
            choice.profile,
            choice.key_file,
            entra=choice.entra,
            needs_key=needs_key,
        )

    def client(self, target: Target | None = None) -> Client:
        """Return a client of the app."""
        return Client(
            target or self.target(),
            rate=self._rate,
            patience=self._patience,
            on_wait=lambda seconds, reason: self.screen.note(f"Waiting {seconds:.0f} s: {reason}"),
        )

    def shows_only(self, text: str, found: Mapping[str, Any] | None = None) -> bool:
        """Show what would be done, if only that is wanted."""
        if self.dry_run:
            content = {"dryRun": True, "would": text, **(found or {})}
            self.screen.item(content, f"Dry run: {text}.")
        return self.dry_run


@contextmanager
def session(
    context: typer.Context,
    *,
    as_json: bool,
    rate: float = 20,
    patience: float = PATIENCE,
    dry_run: bool = False,
) -> Iterator[Session]:
    """Run a command. A failure is shown and becomes the exit code."""
    screen = Screen(as_json=as_json)
    try:
        yield Session(context.obj, screen, rate, patience, dry_run=dry_run)
    except Failure as failure:
        screen.failure(failure)
        raise typer.Exit(failure.exit_code) from None
    except KeyboardInterrupt:
        screen.failure(Failure(Exit.INTERRUPTED, "interrupted", "Stopped."))
        raise typer.Exit(Exit.INTERRUPTED) from None


def session_for(
    context: typer.Context, file: Path | None, rate: float, *, as_json: bool, dry_run: bool
) -> AbstractContextManager[Session]:
    """Begin a command that needs more patience for a file than for one identity."""
    patience = BULK_PATIENCE if file else PATIENCE
    return session(context, as_json=as_json, rate=rate, patience=patience, dry_run=dry_run)


def export_list(
    context: typer.Context,
    path: str,
    what: tuple[str, str],
    file: Path,
    new_writer: Callable[[TextIO], Writer],
    rate: float,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    """Write a whole list of the app, in every state, to a file.

    `what` has the words for one item and for many.
    """
    with session_for(context, file, rate, as_json=as_json, dry_run=False) as current:
        target = current.target()
        check_destination(file)
        if file.exists():
            current.screen.confirm(f"Replace {file}?", yes=yes)
        with current.client(target) as client, current.screen.progress("Exporting") as bar:
            client.on_wait = bar.waiting
            pages = client.pages(path, {"state": "any"})
            counts = write_export(pages, file, new_writer, bar.advance)
        total = counts.total()
        by_state = ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items()))
        written = counted(total, *what)
        text = f"Wrote {written} to {file}" + (f": {by_state}." if total else ".")
        current.screen.item({"file": str(file), "total": total, "states": counts}, text)


def show_list(
    context: typer.Context,
    path: str,
    query: Mapping[str, str],
    columns: Sequence[str],
    limit: int | None,
    *,
    as_json: bool,
) -> None:
    """Print a list of the app."""
    with (
        session(context, as_json=as_json) as current,
        current.client() as client,
    ):
        if limit is None:
            limit = 0 if as_json else _ROWS
        limit = min(limit, sys.maxsize - 1)
        # One more than shown, to learn whether there are more.
        size = min(limit + 1, PAGE_SIZE) if limit else PAGE_SIZE
        items = chain.from_iterable(client.pages(path, query, size))
        if not limit:
            # A screen full at a time, so that any number of rows needs little memory.
            while not current.screen.is_closed and (rows := list(islice(items, _ROWS))):
                current.screen.rows(columns, rows)
            return
        rows = list(islice(items, limit + 1))
        current.screen.rows(columns, rows[:limit])
        if len(rows) > limit:
            current.screen.note(f"There are more than {limit}: --limit 0 shows all.")


def for_user(user: str | None) -> str:
    """Return the words that name the user, if there is one."""
    return f" for the user {user}" if user else ""


def change(
    current: Session,
    identity_id: str,
    act: Callable[[Client], Answer],
    *,
    do: str,
    done: str,
    result: str,
    confirmed: bool,
) -> None:
    """Change one identity, after asking.

    Raises:
        Failure: the id is invalid, the operator says no, or the app refuses it.
    """
    checked_identity(identity_id)
    target = current.target()
    text = f"{do} {identity_id} at {target.url}"
    if current.shows_only(text):
        return
    current.screen.confirm(f"{text}?", yes=confirmed)
    with current.client(target) as client:
        content = act(client).content
    text = f"{done} {identity_id}."
    if "scheduledPurgeOn" in content:
        text += f" Its purge is due on {content['scheduledPurgeOn']}; until then, restore it."
    elif content.get("state") == "suspended" != result:
        text += f" It is still suspended: acsid resume {identity_id}."
    current.screen.item({"id": identity_id, "result": result, **content}, text)


# What works through the records that have no result yet.
Work = Callable[
    [Client, transfer.Journal, transfer.Advance], transfer.Importer[Any] | transfer.Bulk[Any]
]


@dataclass
class FileRun:
    """Work on every record of a file, or on what an interrupted run has left of it.

    Attributes:
        name: The name of the command.
        text: What is going to be done.
        work: Does it.
        found: What is known before it is done.
        deleted_by: The filter of the work, if it has one.
    """

    session: Session
    target: Target
    reader: RecordFile[Any]
    name: str
    text: str
    work: Work
    found: dict[str, Any] = field(default_factory=dict)
    deleted_by: str | None = None

    def __post_init__(self) -> None:
        self.found = {**self.reader.summary.facts, **self.found}

    def run(self, *, yes: bool) -> None:
        """Ask, do it, and report.

        Raises:
            Failure: something was refused or is left to do.
        """
        if self.session.shows_only(self.text, self.found):
            return
        if not self.found["records"]:
            content = {**self.found, "results": {}, "left": 0}
            self.session.screen.item(content, "There is nothing to do.")
            return
        with transfer.Journal(self.reader, self.name, self.target.url, self.deleted_by) as journal:
            stopped = self._work(journal, yes=yes) if journal.left else None
            if not journal.left:
                journal.finish()
            self._report(journal)
            if stopped:
                again = "Run the same command again: it continues where it stopped."
                stopped.hint = f"{stopped.hint} {again}".strip()
                raise stopped
            if set(journal.results) - transfer.GOOD:
                raise Failure(
                    Exit.REFUSED,
                    "refused_in_part",
                    "Some records were not accepted.",
                    hint=f"{journal.report} has the reasons.",
                )
            if bad := self.found["badRows"]:
                text = counted(bad, "bad row was left out", "bad rows were left out")
                text += ". The report has only good rows."
                raise Failure(Exit.REFUSED, "bad_rows_left_out", text)

    def _work(self, journal: transfer.Journal, *, yes: bool) -> Failure | None:
        """Work until the end. Returns why it has stopped, if it has."""
        screen, total = self.session.screen, journal.done + journal.left
        if journal.done:
            screen.note(f"Continuing: {journal.done:,} of {total:,} are done.")
        try:
            screen.confirm(f"{self.text}?", yes=yes)
        except (Failure, KeyboardInterrupt):
            journal.discard()
            raise
        with (
            self.session.client(self.target) as client,
            screen.progress(self.name.capitalize(), total, journal.done) as bar,
        ):
            client.on_wait = bar.waiting
            try:
                records = transfer.unfinished(self.reader, journal)
                self.work(client, journal, bar.advance).run(records)
            except Failure as failure:
                return failure
            except KeyboardInterrupt:
                return Failure(Exit.INTERRUPTED, "interrupted", "Stopped.")
        return None

    def _report(self, journal: transfer.Journal) -> None:
        screen = self.session.screen
        file = journal.path if journal.left else journal.report
        results = {"results": journal.results, "left": journal.left, "report": str(file)}
        lines = [f"{count:,} {result}" for result, count in sorted(journal.results.items())]
        if journal.left:
            lines.append(f"{journal.left:,} not done yet")
        screen.item({**self.found, **results}, ", ".join(lines))
        screen.note(f"The result of each record is in {file}.")


def describe(screen: Screen, summary: Summary) -> None:
    """Say what a file contains."""
    if summary.columns:
        screen.note(f"Reading {summary.columns}.")
    for record in summary.examples:
        screen.note(f"  line {record.line}: {record}")
    if summary.duplicates:
        rows = counted(summary.duplicates, "row repeats", "rows repeat")
        screen.note(f"{rows} an earlier one, which counts once.")
    for reason, count in sorted(summary.skipped.items()):
        screen.note(f"{counted(count, 'row is', 'rows are')} left out: {reason}.")
    for line in bad_lines(summary):
        screen.note(f"Left out: {line}")


def preview(
    current: Session, target: Target, reader: Reader, kind: transfer.Kind
) -> tuple[str, dict[str, Any]]:
    """Say in which states the identities of a file are now. Returns what would be done to them.

    Raises:
        Failure: the app does not respond, or does not say who has deleted an identity.
    """
    ids = dict.fromkeys(record.id for record in reader.records())  # in the order of the file
    with current.client(target) as client, current.screen.progress("Reading their states"):
        found = transfer.seen(client, ids)
    each = [found.get(one, transfer.Seen("not in the registry")) for one in ids]
    for text, count in sorted(Counter(str(one) for one in each).items()):
        current.screen.note(f"  {count:,} {text}")
    text, facts = kind.name.capitalize(), {"states": Counter(one.state for one in each)}
    if kind.deleted_by is None:
        return f"{text} {counted(len(ids), *IDENTITIES)} at {target.url}", facts
    if any(one.state == "deleted" and not one.deleted_by for one in each):
        raise usage(
            "This app does not say who has deleted an identity: it is older than this acsid.",
            "Nothing was sent. --deleted-by any restores all, also what users have deleted.",
            "deleter_unknown",
        )
    left_out = sum(map(kind.leaves_out, each))
    chosen = [one for one in ids if kind.chooses(found.get(one))]
    for one in chosen[:_EXAMPLES]:
        current.screen.note(f"  to restore: {one}, {found[one]} on {found[one].deleted_on}")
    other = "users have" if kind.deleted_by == "service" else "services have"
    text += f" {counted(len(chosen), *IDENTITIES)}, and leave out {left_out:,} that {other}"
    return f"{text} deleted, at {target.url}", {**facts, "leftOut": left_out}
