"""Files of users and resource accounts, for the commands of `acsid teams`.

A row has a `tenantId` and an `objectId`, and to assign access also `principalType`, `clientIds` (in
CSV with spaces between them) and `expiresOn`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Self

from acsid.failures import usage
from acsid.records import RecordFile, first, is_guid, plain, short

_TYPES = ("user", "resourceAccount", "teamsResourceAccount")
# What the app accepts as `expiresOn` is in `identity_service/schemas.py`; a test compares them.
_HOUR = "([01][0-9]|2[0-3])"
_INSTANT = re.compile(
    rf"\d{{4}}-\d\d-\d\d[T ]{_HOUR}:\d\d:\d\d(\.\d+)?(Z|[+-]{_HOUR}:?[0-5]\d)",
    re.IGNORECASE | re.ASCII,
)
_LATEST_YEAR = 9998
_TOO_LATE = datetime(_LATEST_YEAR + 1, 1, 1, tzinfo=UTC)
# Access in one of these states cannot be assigned or imported from an export.
_ENDED = {"removing", "removed", "unknown"}

# Names of columns, as in `records`.
_NAMES: Mapping[str, Sequence[str]] = {
    "objectId": ("objectid", "entraobjectid", "aadobjectid", "oid", "userobjectid"),
    "tenantId": ("tenantid", "targettenantid", "tid"),
    "principalType": ("principaltype",),
    "clientIds": ("clientids", "clientid"),
    "expiresOn": ("expireson",),
    "state": ("state",),
}


@dataclass(frozen=True, slots=True)
class AccessRecord:
    """A user or a resource account in a file, and the line where it begins.

    Attributes:
        principal_type: Which of them. Empty if the command does not read it.
    """

    line: int
    tenant_id: str
    object_id: str
    principal_type: str = "user"
    client_ids: tuple[str, ...] = ()
    expires_on: str | None = None

    @classmethod
    def named(cls, text: str) -> Self | None:
        """Return whom TENANT/OBJECT names. None if it is not two GUIDs."""
        tenant, _, user = text.partition("/")
        return cls(0, tenant.lower(), user.lower()) if is_guid(tenant) and is_guid(user) else None

    @property
    def id(self) -> str:
        """Return what names it."""
        return f"{self.tenant_id}/{self.object_id}"

    @property
    def path(self) -> str:
        """Return where the app has it."""
        return f"teams/access/{self.id}"

    @property
    def content(self) -> tuple[object, ...]:
        """Return everything but the line."""
        return self.id, self.principal_type, self.client_ids, self.expires_on

    def __str__(self) -> str:
        text = f"{self.principal_type} {self.id}".strip()
        text += f" with {', '.join(self.client_ids)}" if self.client_ids else ""
        return f"{text} until {self.expires_on}" if self.expires_on else text


@dataclass(frozen=True)
class AccessOptions:
    """How to read a file.

    Attributes:
        reads: The columns that matter.
        tenant: The tenant of rows that name none.
        clients: The clients of users in rows that name none.
        skip_ended: Whether to leave out what an export says is removed.
        skip_bad: Whether to go on with the good rows if there are bad ones.
    """

    reads: tuple[str, ...]
    tenant: str | None = None
    clients: tuple[str, ...] = ()
    skip_ended: bool = True
    skip_bad: bool = False


class AccessReader(RecordFile[AccessRecord]):
    """Reads a file of users and resource accounts.

    Args:
        started: When the work on the file was begun. Access must end later. A run that continues
            has the time of the first one: a row that was good must not become bad meanwhile.
    """

    def __init__(self, path: Path, options: AccessOptions, started: datetime) -> None:
        self._options = options
        super().__init__(path, skip_bad=options.skip_bad)
        self.started = self._started = started

    def _content(self, record: AccessRecord) -> str:
        return f"{record.content}\n"

    def _unique(self, rows: Iterator[AccessRecord]) -> Iterator[AccessRecord]:
        """See `RecordFile`."""
        seen: dict[bytes, tuple[int, bytes]] = {}
        for record in rows:
            content = short(f"{record.content}")
            line, earlier = seen.setdefault(short(record.id), (record.line, content))
            if line == record.line:
                yield record
            elif earlier == content:
                self.summary.duplicates += 1
            else:
                self._bad(record.line, f"line {line} has other values for the same objectId")

    def _check_names(self, names: tuple[str, ...]) -> None:
        """Refuse a file without users, and say what the columns are taken for."""
        columns = _columns(names)
        if "objectId" not in columns:
            if not self._csv:
                return  # each row is bad
            raise usage(
                f"{self.path} has no column objectId: it has {', '.join(names)}.",
                "The first line must name the columns, such as"
                " tenantId,objectId,principalType,clientIds,expiresOn.",
            )
        options = self._options
        read = [columns[name] for name in options.reads if name in columns]
        text = ", ".join(read)
        if ignored := sorted(set(names) - set(read) - {columns.get("state")}):
            text += f". Ignored: {', '.join(ignored)}"
        self.summary.columns = text

    def _record(self, line: int, row: Mapping[str, Any]) -> AccessRecord | None:
        """See `RecordFile`."""
        columns = _columns(tuple(row))
        values = {name: row[column] for name, column in columns.items() if row.get(column)}
        if self._is_left_out(values):
            return None
        try:
            return _parsed(line, values, self._options, self._started)
        except ValueError as problem:
            self._bad(line, str(problem))
            return None

    def _is_left_out(self, values: Mapping[str, Any]) -> bool:
        """Count a row that is not meant, such as one of an identity without an Entra user."""
        state = values.get("state")
        if self._options.skip_ended and isinstance(state, str) and state in _ENDED:
            self.summary.skipped[state] += 1
            return True
        if not values.get("objectId"):
            self.summary.skipped["no objectId"] += 1
            return True
        return False


@cache
def _columns(names: tuple[str, ...]) -> Mapping[str, str]:
    """Return the column for each name of `_NAMES` that the file has."""
    by_name = {plain(name): name for name in reversed(names)}
    found = {name: first(by_name, wanted) for name, wanted in _NAMES.items()}
    return {name: column for name, column in found.items() if column}


def _parsed(
    line: int, values: Mapping[str, Any], options: AccessOptions, started: datetime
) -> AccessRecord:
    """Return the record of a row.

    Raises:
        ValueError: what is wrong with the row.
    """
    read = {name: values.get(name) for name in ("principalType", "clientIds", "expiresOn")}
    read = {name: value for name, value in read.items() if name in options.reads}
    tenant, kind = values.get("tenantId") or options.tenant, read.get("principalType") or "user"
    clients = read.get("clientIds") or (options.clients if kind == "user" else ())
    if isinstance(clients, str):
        clients = [one for one in re.split(r"[\s,;]+", clients) if one]
    end = read.get("expiresOn")
    _require(tenant, "there is no tenantId: --tenant names the tenant of all such rows")
    tenant_id = _guid(tenant, "tenantId must be a GUID")
    object_id = _guid(values["objectId"], "objectId must be a GUID")
    _require(kind in _TYPES, f"principalType must be one of {', '.join(_TYPES)}")
    _require(
        clients or kind != "user" or "clientIds" not in options.reads,
        "there are no clientIds: --client names those of all such rows",
    )
    _require(isinstance(clients, Sequence), "clientIds must be GUIDs")
    client_ids = tuple(_guid(each, "clientIds must be GUIDs") for each in clients)
    _require(len(set(client_ids)) == len(client_ids), "clientIds has the same GUID twice")
    if end:
        checked_end(end, started)
    shown = kind if "principalType" in options.reads else ""
    return AccessRecord(line, tenant_id, object_id, shown, client_ids, end)


def checked_end(text: object, started: datetime) -> None:
    """Refuse a time that the app does not accept as the end of access.

    Raises:
        ValueError: what is wrong with it.
    """
    moment = None
    if isinstance(text, str) and _INSTANT.fullmatch(text):
        with suppress(ValueError):  # such as 30 February
            moment = datetime.fromisoformat(text.upper())
    if moment is None:
        raise ValueError(
            "expiresOn must have a date, a time and an offset, such as 2030-01-01T12:00:00Z"
        )
    _require(moment > started, "expiresOn has passed: acsid teams remove ends access")
    _require(
        moment < _TOO_LATE,
        f"expiresOn is after {_LATEST_YEAR}: without it, access does not end by itself",
    )


def _guid(value: object, problem: str) -> str:
    guid = value.strip().lower() if isinstance(value, str) else ""
    _require(is_guid(guid), problem)
    return guid


def _require(condition: object, problem: str) -> None:
    if not condition:
        raise ValueError(problem)
