"""How a command ends: its exit code, and what went wrong."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any


class Exit(IntEnum):
    """The exit codes. docs/acsid.md explains them to the authors of scripts."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    NOT_FOUND = 3
    NO_ANSWER = 4
    KEY_REFUSED = 5
    NOT_CONFIRMED = 6
    NOT_WRITTEN = 7
    INTERRUPTED = 130


class Failure(Exception):
    """A command cannot go on.

    Attributes:
        code: What is wrong, for scripts: the code of a problem, or a word of our own.
        message: What is wrong, for people.
        lines: Further lines, such as one for each bad row.
        hint: What to do next.
        problem: The fields of the problem that the app sent, if any.
    """

    def __init__(
        self,
        exit_code: Exit,
        code: str,
        message: str,
        *,
        lines: Sequence[str] = (),
        hint: str = "",
        problem: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.code = code
        self.message = message
        self.lines = lines
        self.hint = hint
        self.problem = problem or {}


def usage(message: str, hint: str = "", code: str = "usage") -> Failure:
    """The failure for wrong arguments, settings or files. Nothing has been sent."""
    return Failure(Exit.USAGE, code, message, hint=hint)


@contextmanager
def plain_errors(path: Path, exit_code: Exit = Exit.NOT_WRITTEN) -> Iterator[None]:
    """Explain an error of the file system."""
    try:
        yield
    except OSError as error:
        text = f"{path} cannot be read or written: {error.strerror}."
        raise Failure(exit_code, "file", text) from error
