"""Exports: writes a list of the app to a file, in one of the formats.

A spreadsheet runs a cell that begins with `=`, `+`, `-` or `@` as a formula, or turns it into a
number. In CSV, such a user id is written with an apostrophe in front, which reading removes again.
JSON Lines has every value as it is.
"""

import csv
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, TextIO

from acsid.failures import Exit, plain_errors, usage
from acsid.records import FORMULA, GUID

_COLUMNS = ("id", "userId", "state", "createdOn", "knownOn", "suspendedOn", "deletedBy")
_MAP_COLUMNS = ("acs_user_id", "entra_object_id", "target_tenant_id", "status", "decision_owner")
_ENTRA_USER = re.compile(rf"aad/({GUID})/({GUID})")
_GUARD_NEEDED = re.compile(rf"'*{FORMULA}")


class Format(StrEnum):
    """The format of an export."""

    CSV = "csv"
    JSONL = "jsonl"
    GRAPH_MAP = "graph-map"

    @classmethod
    def of(cls, path: Path) -> "Format":
        """Return the format that the name of a file suggests."""
        return cls.JSONL if path.suffix.lower() in (".jsonl", ".ndjson", ".json") else cls.CSV


class Writer(Protocol):
    """Writes items of a list to a file."""

    def write(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Write these items."""


class CsvWriter:
    """Writes CSV with one column for each of these fields."""

    def __init__(self, file: TextIO, columns: Sequence[str] = _COLUMNS) -> None:
        self._columns = columns
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(columns)

    def write(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Write these items."""
        self._writer.writerows(
            [_guarded(item.get(name)) for name in self._columns] for item in items
        )


class JsonLinesWriter:
    """Writes everything that the app says about an item as one line of JSON.

    Every line begins with the same fields, also if the app says nothing about one.
    """

    def __init__(self, file: TextIO, first: Sequence[str] = ("id", "userId")) -> None:
        self._file = file
        self._first = first

    def write(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Write these items."""
        for item in items:
            content = {**dict.fromkeys(self._first), **item}
            self._file.write(json.dumps(content, ensure_ascii=False) + "\n")


class GraphMapWriter:
    """Writes the map that Microsoft's guide for the migration of chats to Teams asks for.

    `mapped` is an identity of an Entra user, `unresolved` any other one. Whether one is only
    archived is a decision of its owner, so that column stays empty.
    """

    def __init__(self, file: TextIO) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(_MAP_COLUMNS)

    def write(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Write these identities."""
        for item in items:
            user = _ENTRA_USER.fullmatch(str(item.get("userId", "")))
            mapped = (user[2], user[1], "mapped") if user else ("", "", "unresolved")
            self._writer.writerow([item.get("id"), *mapped, ""])


WRITERS: Mapping[Format, type[CsvWriter | JsonLinesWriter | GraphMapWriter]] = {
    Format.CSV: CsvWriter,
    Format.JSONL: JsonLinesWriter,
    Format.GRAPH_MAP: GraphMapWriter,
}


def check_destination(path: Path) -> None:
    """Refuse what no export can be written to.

    Raises:
        Failure: it is no regular file, or cannot become one.
    """
    if str(path) == "-":
        raise usage(
            "An export is written to a file, not to standard output.",
            "list --state any --json prints everything.",
        )
    # Replacing a link would not change the file that it leads to, or would break /dev/stdout.
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise usage(f"{path} is not a regular file.")


def write_export(
    pages: Iterator[list[dict[str, Any]]],
    path: Path,
    new_writer: Callable[[TextIO], Writer],
    advance: Callable[[int], None],
) -> Counter[str]:
    """Write a whole list to a file, which is complete or not there. Returns counts by state.

    Raises:
        Failure: the app does not respond, or the file cannot be written.
    """
    counts: Counter[str] = Counter()
    with plain_errors(path, Exit.USAGE):  # nothing was sent yet
        # Readable by its owner only, from the start.
        number, name = tempfile.mkstemp(".acsid-part", f"{path.name}.", path.parent)
    part = Path(name)
    with plain_errors(path):
        try:
            with os.fdopen(number, "w", encoding="utf-8", newline="") as file:
                writer = new_writer(file)
                for page in pages:
                    writer.write(page)
                    counts.update(str(item.get("state", "")) for item in page)
                    advance(len(page))
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    return counts


def _guarded(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    text = "" if value is None else str(value)
    return f"'{text}" if _GUARD_NEEDED.match(text) else text
