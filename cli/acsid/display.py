"""What the operator sees: tables for people, JSON for scripts.

Values come from users of the app, so nothing in them may act on the terminal: markup is not
interpreted, and control characters are shown as escapes.
"""

import io
import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from acsid.failures import Exit, Failure

# Control characters; invisible characters that can reverse or hide text; line separators;
# surrogates, which no terminal can show.
_ESCAPED = {"Cc", "Cf", "Zl", "Zp", "Cs"}
# Wide enough that no id is cut: the terminal wraps long lines, and they can still be copied.
_WIDTH = 10_000


def escaped(value: object) -> str:
    """Return the value as one line of text that has no effect on a terminal."""
    text = "" if value is None else str(value)
    return "".join(
        each.encode("unicode_escape", "surrogatepass").decode("ascii")
        if unicodedata.category(each) in _ESCAPED
        else each
        for each in text
    )


def json_line(content: object) -> str:
    """Return the content as one line of JSON in ASCII, without control characters."""
    return json.dumps(content, ensure_ascii=True).replace("\x7f", "\\u007f")


class Stream(io.RawIOBase):
    """Standard output or standard error, of which nothing is worth a traceback.

    If the reader of a pipe has gone, as in `acsid list | head -1`, the rest is dropped. So is
    everything that standard error does not take, because nobody could be told.

    Attributes:
        is_closed: Whether everything is dropped from now on.

    Raises:
        Failure: standard output cannot be written.
    """

    def __init__(self, raw: Any, *, must_arrive: bool) -> None:
        self._raw = raw
        self._must_arrive = must_arrive
        self.is_closed = False

    @classmethod
    def wrap(cls, text: TextIO, *, must_arrive: bool) -> TextIO:
        """Return the stream with these rules."""
        if not isinstance(text, io.TextIOWrapper):  # closed, or replaced by a test
            return text
        buffer = text.buffer  # with PYTHONUNBUFFERED, there is none
        stream = cls(getattr(buffer, "raw", buffer), must_arrive=must_arrive)
        return io.TextIOWrapper(
            io.BufferedWriter(stream), text.encoding, text.errors, line_buffering=text.isatty()
        )

    def writable(self) -> bool:
        """See `io`."""
        return True

    def isatty(self) -> bool:
        """See `io`."""
        return bool(self._raw.isatty())

    def fileno(self) -> int:
        """See `io`."""
        return int(self._raw.fileno())

    def write(self, data: Any) -> int:
        """See `io`."""
        if self.is_closed:
            return len(data)
        try:
            return int(self._raw.write(data))
        except OSError as error:
            # What is left in the buffers would fail again when the program ends.
            self.is_closed = True
            if self._must_arrive and not isinstance(error, BrokenPipeError):
                text = f"Standard output cannot be written: {error.strerror}."
                raise Failure(Exit.NOT_WRITTEN, "output", text) from None
            return len(data)


class Screen:
    """Writes results to standard output, and everything else to standard error.

    Args:
        as_json: Whether a script reads the output.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A terminal that cannot show a character gets its escape instead of an error.
                stream.reconfigure(errors="backslashreplace")
        self._out = Console(markup=False, highlight=False, emoji=False, width=_WIDTH)
        self._err = Console(stderr=True, markup=False, highlight=False, emoji=False)

    @property
    def is_closed(self) -> bool:
        """Whether nobody reads standard output any more."""
        stream = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
        return isinstance(stream, Stream) and stream.is_closed

    def rows(self, columns: Sequence[str], items: Iterable[Mapping[str, Any]]) -> None:
        """Print a table, or one line of JSON for each item."""
        if self.as_json:
            self._print("".join(f"{json_line(item)}\n" for item in items))
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(Text(escaped(column)), no_wrap=True, overflow="ignore")
        for item in items:
            table.add_row(*(Text(escaped(item.get(column))) for column in columns))
        self._out.print(table, soft_wrap=True)

    def item(self, content: Mapping[str, Any], text: str = "") -> None:
        """Print one result: as JSON, as this text, or as one line for each field.

        Raises:
            Failure: it cannot be printed. The failure has the text, which says what was done.
        """
        width = max(map(len, content), default=0)
        fields = [f"{escaped(name):<{width}}  {escaped(value)}" for name, value in content.items()]
        lines = [escaped(text)] if text else fields
        try:
            self._print("\n".join([json_line(content)] if self.as_json else lines) + "\n")
        except Failure as failure:
            failure.message += f" The result: {text}" if text else ""
            raise

    def note(self, text: str) -> None:
        """Tell people one line. A script gets none: for it, standard error has only a failure."""
        if not self.as_json:
            self._err.print(Text(escaped(text)), soft_wrap=True)

    def failure(self, failure: Failure) -> None:
        """Print what went wrong and what to do next."""
        if self.as_json:
            self._err.print(Text(json_line({"error": _error(failure)})), soft_wrap=True)
            return
        for line in (f"acsid: {failure.message}", *failure.lines, failure.hint):
            if line:
                self.note(line)

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something that cannot be undone, or that changes many identities.

        Raises:
            Failure: the operator says no, or nobody can be asked.
        """
        if yes:
            return
        if not (sys.stdin and sys.stdin.isatty()):
            raise Failure(
                Exit.NOT_CONFIRMED,
                "not_confirmed",
                f"{question} There is no terminal to ask on, so nothing was done.",
                hint="Add --yes to confirm.",
            )
        self._err.print(Text(f"{escaped(question)} [y/N]: "), end="", soft_wrap=True)
        answer = ""
        try:
            answer = sys.stdin.readline()
        finally:  # Ctrl-C and Ctrl-D leave the cursor behind the question
            if not answer.endswith("\n"):
                self._err.print()
        if answer.strip().lower() not in ("y", "yes"):
            raise Failure(Exit.NOT_CONFIRMED, "not_confirmed", "Nothing was done.")

    @contextmanager
    def progress(self, action: str, total: int | None = None, done: int = 0) -> Iterator["Bar"]:
        """Show a progress bar until the end of the block, on a terminal only."""
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:,.0f}{task.fields[of]}  {task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        shown = self._err.is_terminal and not self.as_json
        with Progress(*columns, console=self._err, disable=not shown, transient=True) as progress:
            of = "" if total is None else f" of {total:,}"
            task = progress.add_task(action, total=total, completed=done, of=of, rate="", note="")
            yield Bar(progress, task, None if shown else self.note)

    def _print(self, text: str) -> None:
        # Not with the console, which would wrap. At once, so that it stands before later notes.
        self._out.file.write(text)
        self._out.file.flush()


class Bar:
    """A progress bar."""

    def __init__(
        self, progress: Progress, task: TaskID, note: Callable[[str], None] | None
    ) -> None:
        self._progress = progress
        self._task = task
        self._note = note
        self._reason = ""

    def advance(self, count: int) -> None:
        """Count what is done."""
        task = self._progress.tasks[0]
        rate = f"{task.speed:,.0f}/s" if task.speed else ""
        self._progress.update(self._task, advance=count, rate=rate, note="")

    def waiting(self, seconds: float, reason: str) -> None:
        """Show why nothing happens."""
        if self._note and reason != self._reason:
            # Where no bar is shown, each reason is worth one line.
            self._note(f"Waiting: {reason}")
        self._reason = reason
        note = f"waiting {seconds:.0f} s: {escaped(reason)}"
        self._progress.update(self._task, note=note[:100])


def _error(failure: Failure) -> dict[str, Any]:
    """Return the fields of a failure, those of the app's problem included."""
    own = {"code": failure.code, "message": failure.message, "exitCode": int(failure.exit_code)}
    hint = {"hint": failure.hint} if failure.hint else {}
    names = (
        "status",
        "title",
        "detail",
        "field",
        "allowed",
        "identityId",
        "deletedBy",
        "upstreamRequestId",
        "rows",
    )
    return own | hint | {name: failure.problem[name] for name in names if name in failure.problem}
