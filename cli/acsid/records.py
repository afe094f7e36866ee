"""Files of records, as CSV or JSON Lines, and what the rows about identities mean."""

import csv
import json
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any, BinaryIO, Generic, Protocol, Self, TypeGuard, TypeVar

from acsid.failures import Exit, Failure, usage

GUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_IDENTITY = re.compile(rf"8:(?:acs|gcch-acs|dod-acs):{GUID}_{GUID}")
# What the app accepts as a user id is in `identity_service/schemas.py`; a test compares them.
_COLON = "(:|%(25)*3a)"
_LIKE_AN_IDENTITY = re.compile(
    f"[\"'<]?8{_COLON}((gcch|dod)-)?acs{_COLON}", re.IGNORECASE | re.ASCII
)
_ENTRA_ID = re.compile(GUID, re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MARKS = r"[\s\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
_BLANK = re.compile(rf"^{_MARKS}|{_MARKS}\Z")
_LONGEST_USER_ID = 256

# What a spreadsheet takes for a formula, also in the wide forms of East Asian keyboards.
FORMULA = r"[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]"
# An export puts apostrophes in front of it: see `exports`.
_GUARDED = re.compile(rf"'+{FORMULA}")

# Names of columns, without case, spaces, `_` and `-`; the first one that is there counts.
# CommunicationServicesId is the column that Microsoft's page about the identity model recommends.
# A table of users has such a column beside its own `Id`, which is then the user.
_ID_NAMES = ("communicationservicesid", "communicationuserid", "acsuserid", "id")
_USER_NAMES = ("userid", "customid", "id")
_ENTRA_NAMES = ("entraobjectid", "aadobjectid", "objectid", "oid", *_USER_NAMES)
_GRAPH_MAP = ("acsuserid", "entraobjectid", "targettenantid")
# An identity in one of these states cannot be registered.
_NOT_IMPORTED = {"creating", "registering", "suspended", "deleted", "purging", "unknown"}

# Bad rows that are shown to people. JSON has all of them.
_SHOWN = 20


def is_guid(value: object) -> TypeGuard[str]:
    """Whether the value is a GUID, such as the id of an Entra tenant."""
    return isinstance(value, str) and _ENTRA_ID.fullmatch(value) is not None


def is_identity_id(text: str) -> bool:
    """Whether the text is the id of an ACS identity."""
    return _IDENTITY.fullmatch(text) is not None


def is_like_an_identity_id(text: str) -> bool:
    """Whether the text is meant as the id of an ACS identity: the app accepts no such user id."""
    return _LIKE_AN_IDENTITY.match(text.strip()) is not None


def checked_identity(text: str) -> str:
    """Return the text if it is the id of an identity.

    Raises:
        Failure: it is not.
    """
    if problem := _id_problem(text):
        raise usage(
            f"{text} is not the id of an identity: it {problem}.",
            "An id looks like 8:acs:<GUID>_<GUID>, in lower case.",
            "invalid_id",
        )
    return text


def checked_user(text: str) -> str:
    """Return the text if an identity can be registered for such a user.

    Raises:
        Failure: it cannot.
    """
    if problem := _user_problem(text):
        raise usage(f"The user id {problem}.", code="invalid_user")
    return text


def checked_tenant(text: str) -> str:
    """Return the id of an Entra tenant in lower case.

    Raises:
        Failure: it is not a GUID.
    """
    if not is_guid(text):
        raise usage(f"--entra-tenant {text} is not the id of a tenant: it must be a GUID.")
    return text.lower()


class Record(Protocol):
    """What a row of a file is about. As a text, it is what people see of it.

    Attributes:
        line: The line where it begins.
        id: What it is about, for the journal.
    """

    @property
    def line(self) -> int:
        """See above."""

    @property
    def id(self) -> str:
        """See above."""


R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class IdentityRecord:
    """An identity in a file, and the line where it begins."""

    line: int
    id: str
    user: str | None = None

    def __str__(self) -> str:
        return f"{self.id} for the user {self.user}" if self.user else self.id


@dataclass(frozen=True, slots=True)
class BadRow:
    """What is wrong with a row."""

    line: int
    problem: str


@dataclass(frozen=True)
class Options:
    """How to read a file.

    Attributes:
        with_users: Whether the users matter: to delete or to suspend, for example, only ids do.
        no_users: Whether to read ids only, although the file has more columns.
        tenant: The Entra tenant whose object ids the column of users has.
        skip_bad: Whether to go on with the good rows if there are bad ones.
    """

    with_users: bool = True
    id_column: str | None = None
    user_column: str | None = None
    no_users: bool = False
    tenant: str | None = None
    skip_bad: bool = False


@dataclass(frozen=True)
class _Columns:
    id: str
    user: str | None
    tenant: str | None
    state: str | None


@dataclass
class Summary:
    """What reading a file has found.

    Attributes:
        with_user: How many records have a user. None if users do not matter.
        skipped: How many rows were left out, by reason.
        bad: The bad rows.
        digest: A digest of all good records in their order.
    """

    count: int = 0
    with_user: int | None = None
    duplicates: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    bad: list[BadRow] = field(default_factory=list)
    examples: list[Record] = field(default_factory=list)
    columns: str = ""
    digest: str = ""

    @property
    def facts(self) -> dict[str, Any]:
        """What a script sees of it."""
        users = {} if self.with_user is None else {"withUser": self.with_user}
        return {
            "records": self.count,
            **users,
            "duplicates": self.duplicates,
            "skipped": self.skipped,
            "badRows": len(self.bad),
        }


_Row = tuple[int, Mapping[str, Any] | str]


class RecordFile(Generic[R]):
    """Reads a file of records as often as needed, always with the same result.

    It is open from the start, so that a file that is replaced meanwhile does not matter.

    Attributes:
        started: When the work on it was begun, if that decides which rows are good.

    Raises:
        Failure: the file cannot be read.
    """

    def __init__(self, path: Path, *, skip_bad: bool) -> None:
        self.path = path
        self._skip_bad = skip_bad
        self._csv = False
        self.started: datetime | None = None
        if path.exists() and not path.is_file():
            raise usage(f"{path} is not a regular file, so it could not be read a second time.")
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise usage(f"{path} cannot be read: {error.strerror}.") from error
        self.summary = Summary()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def check(self) -> Summary:
        """Read everything once.

        Raises:
            Failure: the file has no usable columns, or bad rows that must not be skipped.
        """
        for _ in self.records():
            pass
        summary = self.summary
        if summary.bad and not self._skip_bad:
            raise bad_rows(self.path, summary)
        return summary

    def records(self) -> Iterator[R]:
        """Read the good records, each once. `summary` is complete at the end.

        Raises:
            Failure: as for `check`.
        """
        self.summary = Summary()
        digest = sha256()
        for record in self._unique(self._parsed()):
            digest.update(self._content(record).encode())
            self.summary.count += 1
            if len(self.summary.examples) < 3:  # noqa: PLR2004 -- enough to see wrong columns
                self.summary.examples.append(record)
            yield record
        self.summary.digest = digest.hexdigest()

    def _content(self, record: R) -> str:
        """Everything that the work depends on, as one line."""
        raise NotImplementedError

    def _unique(self, rows: Iterator[R]) -> Iterator[R]:
        """Leave out repeated records. Rows that contradict each other are bad."""
        raise NotImplementedError

    def _record(self, line: int, row: Mapping[str, Any]) -> R | None:
        """The record of a row. None if it is bad or left out."""
        raise NotImplementedError

    def _check_names(self, names: tuple[str, ...]) -> None:
        """Refuse columns that are not what the operator means."""
        raise NotImplementedError

    def _parsed(self) -> Iterator[R]:
        for line, row in self._rows():
            if isinstance(row, str):
                self._bad(line, row)
                continue
            record = self._record(line, row)
            if record is not None:
                yield record

    def _rows(self) -> Iterator[_Row]:
        self._file.seek(0)
        start = self._file.read(4096)
        self._file.seek(0)
        if start.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            raise usage(f"{self.path} is in UTF-16.", "Save it as CSV in UTF-8.")
        text = start.removeprefix(BOM_UTF8).lstrip()
        if text.startswith(b"["):
            raise usage(
                f"{self.path} is one JSON array.", "Write one object in each line: jq -c '.[]'."
            )
        suffix = self.path.suffix.lower()
        json_lines = suffix in (".jsonl", ".ndjson", ".json") or text.startswith(b"{")
        self._csv = not json_lines
        yield from self._json_rows() if json_lines else self._csv_rows()

    def _json_rows(self) -> Iterator[_Row]:
        names: set[str] = set()
        for number, line in enumerate(_lines(self._file), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                yield number, "this is not a JSON object"
                continue
            names.update(row)
            yield number, row
        if names:
            self._check_names(tuple(sorted(names)))

    def _csv_rows(self) -> Iterator[_Row]:
        lines = _lines(self._file)
        line, first = next(((n, each) for n, each in enumerate(lines, 1) if each.strip()), (0, ""))
        if not first:
            raise usage(f"{self.path} is empty.", "The first line must name the columns.")
        blank = line - 1
        reader = csv.reader(_chained(first, lines), delimiter=_delimiter(first), strict=True)
        names: list[str] = []
        try:
            for cells in reader:
                if not names:
                    names = [cell.strip() for cell in cells]
                    self._check_header(names)
                elif cells and len(cells) != len(names):
                    values = counted(len(cells), "value", "values")
                    yield line, f"it has {values}, but the header has {len(names)}"
                elif cells:
                    yield line, dict(zip(names, cells, strict=True))
                line = blank + reader.line_num + 1
        except csv.Error as error:
            reason, hint = str(error), "Is a quotation mark missing, or not doubled?"
            if "new-line" in reason:
                reason = "a line ends with CR only, as on an old Mac"
                hint = "Save it with the line ends of Windows or Unix."
            raise Failure(
                Exit.USAGE,
                "invalid_csv",
                f"{self.path}, line {line}: this is not valid CSV: {reason}.",
                hint=f"{hint} Nothing was sent.",
            ) from error

    def _check_header(self, names: Sequence[str]) -> None:
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise usage(f"{self.path} has two columns named {twice[0] or '(nothing)'}.")
        self._check_names(tuple(names))

    def _bad(self, line: int, problem: str) -> None:
        self.summary.bad.append(BadRow(line, problem))


class Reader(RecordFile[IdentityRecord]):
    """Reads a file of identities."""

    def __init__(self, path: Path, options: Options) -> None:
        self._options = options
        super().__init__(path, skip_bad=options.skip_bad)

    def records(self) -> Iterator[IdentityRecord]:
        """See `RecordFile`."""
        for record in super().records():
            self.summary.with_user = (self.summary.with_user or 0) + (record.user is not None)
            yield record
        self.summary.with_user = self.summary.with_user or 0

    def _content(self, record: IdentityRecord) -> str:
        return f"{record.id}\0{record.user or ''}\n"

    def _unique(self, rows: Iterator[IdentityRecord]) -> Iterator[IdentityRecord]:
        """Leave out repeated records. Rows that contradict each other are bad."""
        ids: dict[bytes, tuple[int, bytes]] = {}
        users: dict[bytes, int] = {}
        for record in rows:
            key, user = short(record.id), short(record.user or "")
            earlier = ids.setdefault(key, (record.line, user))
            if earlier[0] != record.line:
                if earlier[1] == user:
                    self.summary.duplicates += 1
                else:
                    self._bad(record.line, f"line {earlier[0]} has the same id for another user")
                continue
            line = users.setdefault(user, record.line) if record.user else record.line
            if line != record.line:
                self._bad(record.line, f"line {line} has the same user for another id")
                del ids[key]
                continue
            yield record

    def _record(self, line: int, row: Mapping[str, Any]) -> IdentityRecord | None:
        columns = self._columns(tuple(row))
        if columns is None:
            self._bad(line, "there is no id")
            return None
        return self._identity(line, row, columns)

    def _identity(
        self, line: int, row: Mapping[str, Any], columns: _Columns
    ) -> IdentityRecord | None:
        options = self._options
        values = [row.get(name) if name else None for name in (columns.id, columns.user)]
        if any(value is not None and not isinstance(value, str) for value in values):
            self._bad(line, "id and user must be texts")
            return None
        identity, user = values[0] or "", values[1] or None
        state = row.get(columns.state) if columns.state and options.with_users else None
        if isinstance(state, str) and state in _NOT_IMPORTED:
            self.summary.skipped[state] += 1
            return None
        identity = identity.strip()
        if problem := _id_problem(identity):
            self._bad(line, f"the id {problem}")
            return None
        tenant = options.tenant or (row.get(columns.tenant) if columns.tenant else None)
        if columns.tenant and not options.tenant and not user:
            self.summary.skipped["no Entra user"] += 1
            return None
        if user and self._csv and _GUARDED.match(user):
            user = user[1:]
        if user and (options.tenant or columns.tenant):
            user, problem = _entra_user(user, tenant)
        else:
            problem = _user_problem(user) if user else ""
        if problem:
            if state == "active":  # an export has user ids that can no longer be written
                self.summary.skipped["a user id of an earlier release"] += 1
            else:
                self._bad(line, f"the user {problem}")
            return None
        return IdentityRecord(line, identity, user)

    def _check_names(self, names: tuple[str, ...]) -> None:
        """Refuse a file without ids, and one whose users would silently be ignored."""
        columns = self._columns(names)
        if columns is None and not self._csv:
            return  # each row is bad
        if columns is None:
            raise usage(
                f"{self.path} has no column with the ids: it has {', '.join(names)}.",
                "The first line must name the columns, such as id,userId. --id-column chooses one.",
            )
        option = self._options.user_column
        if option and option not in names:
            raise usage(f"{self.path} has no column {option}: it has {', '.join(names)}.")
        self.summary.columns = f"ids from {columns.id}, " + (
            f"users from {columns.user}" if columns.user else "no users"
        )
        with_users = self._options.with_users and not self._options.no_users
        if not columns.user and len(names) > 1 and with_users:
            raise usage(
                f"{self.path} has no column of users that acsid knows: it has {', '.join(names)}.",
                "Choose one with --user-column, or register without users: --no-users.",
            )

    def _columns(self, names: tuple[str, ...]) -> _Columns | None:
        return _resolve(names, self._options)


def bad_lines(summary: Summary) -> list[str]:
    """Return a line for each of the first bad rows, and how many more there are."""
    lines = [f"line {row.line}: {row.problem}" for row in summary.bad[:_SHOWN]]
    if more := len(summary.bad) - len(lines):
        lines.append(f"… and {more:,} more: --json lists them all.")
    return lines


def bad_rows(path: Path, summary: Summary) -> Failure:
    """Return the failure that lists the bad rows of a file."""
    fix = "Fix the file"
    if any(row.problem.endswith("is not UTF-8") for row in summary.bad):
        fix = "Save the file in UTF-8"
    return Failure(
        Exit.USAGE,
        "bad_rows",
        f"{path} has {counted(len(summary.bad), 'bad row', 'bad rows')}.",
        lines=bad_lines(summary),
        hint=f"Nothing was sent. {fix}, or send only the good rows: --skip-bad.",
        problem={"rows": [{"line": row.line, "problem": row.problem} for row in summary.bad]},
    )


@cache
def _resolve(names: tuple[str, ...], options: Options) -> _Columns | None:
    """Return which columns to read, or None if there are no ids."""
    by_name = {plain(name): name for name in reversed(names)}
    identity = options.id_column or first(by_name, _ID_NAMES)
    if identity not in names:
        return None
    del by_name[plain(identity)]
    user = options.user_column or first(by_name, _ENTRA_NAMES if options.tenant else _USER_NAMES)
    tenant = None
    if (
        not user
        and not options.tenant
        and all(plain(identity) == name or name in by_name for name in _GRAPH_MAP)
    ):
        user, tenant = by_name["entraobjectid"], by_name["targettenantid"]
    if options.no_users or not options.with_users:
        user = tenant = None
    return _Columns(identity, user, tenant, by_name.get("state"))


def first(by_name: Mapping[str, str], wanted: Sequence[str]) -> str | None:
    """Return the column with the first of these names that is there."""
    return next((by_name[name] for name in wanted if name in by_name), None)


def counted(count: int, one: str, many: str) -> str:
    """Return the number, with the words for one or for many."""
    return f"{count:,} {one if count == 1 else many}"


def plain(name: str) -> str:
    """Return the name of a column as it is compared."""
    return re.sub(r"[\s_-]", "", name).casefold()


def short(text: str) -> bytes:
    """Return a digest that takes less memory than the text."""
    return blake2b(text.encode(), digest_size=16).digest()


def _lines(file: BinaryIO) -> Iterator[str]:
    """Read lines. Bytes that are not UTF-8 become surrogates, which the checks refuse."""
    for number, raw in enumerate(file):
        line = raw if number else raw.removeprefix(BOM_UTF8)
        yield line.decode("utf-8", "surrogateescape")


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _delimiter(header: str) -> str:
    """Return what separates the names in the header. Excel writes `;` in many countries."""
    return max(",;\t", key=header.count)


def _id_problem(text: str) -> str:
    if _IDENTITY.fullmatch(text):
        return ""
    if not text:
        return "is missing"
    if _IDENTITY.fullmatch(text.strip()):
        return "must have no white space around it"
    if _IDENTITY.fullmatch(text.lower()):
        return "must be in lower case"
    return "must look like 8:acs:<GUID>_<GUID>"


def _user_problem(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    if len(text) > _LONGEST_USER_ID:
        return f"has {len(text)} characters: {_LONGEST_USER_ID} are the most"
    if _LIKE_AN_IDENTITY.match(text):
        return "is the id of an identity, not of a user"
    if _CONTROL.search(text):
        return "has control characters"
    if not text or _BLANK.search(text):
        return "is empty, or begins or ends with white space or an invisible mark"
    return ""


def _entra_user(object_id: str, tenant: object) -> tuple[str, str]:
    """Return the user id that the `me` operations use, and what is wrong with it."""
    if not is_guid(tenant):
        return "", "has no tenant: its id must be a GUID"
    if not is_guid(object_id):
        return "", "is not an Entra object id: it must be a GUID"
    return f"aad/{tenant.lower()}/{object_id.lower()}", ""
