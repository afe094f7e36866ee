"""The commands of `acsid teams`: who has Teams Phone access.

A file has one row for each user or resource account: `tenantId`, `objectId`, and to assign access
also `principalType`, `clientIds` (in CSV with spaces between them) and `expiresOn`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from http import HTTPStatus
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from acsid import transfer
from acsid.client import Client
from acsid.failures import Exit, Failure, usage
from acsid.records import (
    BadRow,
    CsvWriter,
    Format,
    JsonLinesWriter,
    RecordFile,
    Writer,
    first,
    plain,
    short,
)
from acsid.session import (
    BULK_PATIENCE,
    AsJson,
    DryRun,
    FileRun,
    Limit,
    Rate,
    Session,
    SkipBad,
    Yes,
    describe,
    session,
    show_list,
)

app = typer.Typer(
    name="teams",
    help="Teams Phone access: who may use the ACS resource with their own Entra sign-in.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_TYPES = ("user", "resourceAccount", "teamsResourceAccount")
# The app compares with its own clock: what is past is its own refusal.
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.IGNORECASE)
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
_COLUMNS = (
    "tenantId",
    "objectId",
    "principalType",
    "clientIds",
    "expiresOn",
    "state",
    "createdOn",
    "changedOn",
)
_SHOWN = ("tenantId", "objectId", "state", "principalType", "expiresOn", "attempts", "lastError")

Tenant = Annotated[
    str | None, typer.Option(metavar="ID", help="The Entra tenant of rows that name none.")
]


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
class Options:
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
    """Reads a file of users and resource accounts."""

    def __init__(self, path: Path, options: Options) -> None:
        self._options = options
        super().__init__(path, skip_bad=options.skip_bad)

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
        values = {name: row.get(columns[name]) for name in columns if row.get(columns[name])}
        if self._is_left_out(values):
            return None
        record = _parsed(line, values, self._options)
        if isinstance(record, BadRow):
            self._bad(line, record.problem)
            return None
        return record

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


def _parsed(line: int, values: Mapping[str, Any], options: Options) -> AccessRecord | BadRow:
    clients = values.get("clientIds", ())
    if isinstance(clients, str):
        clients = [one for one in re.split(r"[\s,;]+", clients) if one]
    texts = {name: values.get(name) for name in ("tenantId", "objectId", *options.reads)}
    texts["tenantId"] = texts["tenantId"] or options.tenant
    kind = texts.get("principalType") or "user"
    chosen = tuple(clients) if "clientIds" in options.reads else ()
    if not chosen and kind == "user":
        chosen = options.clients
    needs_clients = "clientIds" in options.reads and kind == "user"
    if problem := _problem(texts, kind, chosen, needs_clients=needs_clients):
        return BadRow(line, problem)
    return AccessRecord(
        line,
        str(texts["tenantId"]).strip().lower(),
        str(texts["objectId"]).strip().lower(),
        kind if "principalType" in options.reads else "",
        tuple(one.lower() for one in chosen),
        texts.get("expiresOn"),
    )


def _problem(
    texts: Mapping[str, Any], kind: object, clients: Sequence[object], *, needs_clients: bool
) -> str:
    for name in ("tenantId", "objectId"):
        if not texts[name]:
            return f"there is no {name}: --tenant names the tenant of all such rows"
        if not _is_guid(texts[name]):
            return f"{name} must be a GUID"
    end = texts.get("expiresOn")
    same = len({str(one).lower() for one in clients}) < len(clients)
    wrong = {
        f"principalType must be one of {', '.join(_TYPES)}": kind not in _TYPES,
        "there are no clientIds: --client names those of all such rows": needs_clients
        and not clients,
        "clientIds must be GUIDs": not all(map(_is_guid, clients)),
        "clientIds has the same GUID twice": same,
        "expiresOn must have a date, a time and an offset, such as 2030-01-01T12:00:00Z": end
        and not (isinstance(end, str) and _INSTANT.fullmatch(end)),
    }
    return next((problem for problem, is_so in wrong.items() if is_so), "")


def _is_guid(value: object) -> bool:
    return isinstance(value, str) and _GUID.fullmatch(value.strip()) is not None


def _checked_guids(option: str, values: Sequence[str]) -> tuple[str, ...]:
    for value in values:
        if not _is_guid(value):
            raise usage(f"{option} {value} is not an id: it must be a GUID.")
    return tuple(value.strip().lower() for value in values)


@app.command()
def assign(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or JSON Lines.")],
    tenant: Tenant = None,
    client: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="The application of users in rows that name none."),
    ] = None,
    skip_bad: SkipBad = False,
    rate: Rate = 20,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Give those in a file access, or replace what they have. Run it again to continue."""
    with _of_file(context, rate, as_json=as_json, dry_run=dry_run) as current:
        options = Options(
            ("tenantId", "objectId", "principalType", "clientIds", "expiresOn"),
            _tenant(tenant),
            _checked_guids("--client", client or ()),
            skip_bad=skip_bad,
        )
        _bulk(current, file, options, "assign", "Give access to", _assign, yes=yes)


@app.command()
def remove(
    context: typer.Context,
    who: Annotated[
        str, typer.Argument(metavar="FILE|TENANT/OBJECT", help="A file, or the two ids of one.")
    ],
    tenant: Tenant = None,
    skip_bad: SkipBad = False,
    rate: Rate = 20,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """End the access of one, or of those in a file. ACS revokes their tokens."""
    with _of_file(context, rate, as_json=as_json, dry_run=dry_run) as current:
        if one := _named(who):
            _remove_one(current, one, yes=yes)
            return
        options = Options(
            ("tenantId", "objectId"), _tenant(tenant), skip_ended=False, skip_bad=skip_bad
        )
        _bulk(current, Path(who), options, "remove", "End the access of", _remove, yes=yes)


@app.command("import")
def import_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or JSON Lines.")],
    tenant: Tenant = None,
    skip_bad: SkipBad = False,
    rate: Rate = 5,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Take over assignments that ACS has. It changes nothing in ACS. Run it again to continue."""
    with _of_file(context, rate, as_json=as_json, dry_run=dry_run) as current:
        options = Options(("tenantId", "objectId", "expiresOn"), _tenant(tenant), skip_bad=skip_bad)
        run = partial(transfer.Importer[AccessRecord], operation=_IMPORT)
        _work(current, file, options, "import", "Take over the assignments of", run, yes=yes)


@app.command("export")
def export_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    rate: Rate = 20,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Write all access, in every state, to a file that only you can read."""
    with session(context, as_json=as_json, rate=rate, patience=BULK_PATIENCE) as current:
        target = current.target()
        if file.exists():
            current.screen.confirm(f"Replace {file}?", yes=yes)
        with current.client(target) as client, current.screen.progress("Exporting") as bar:
            client.on_wait = bar.waiting
            pages = client.pages("teams/access", {"state": "any"})
            counts = transfer.export(pages, file, _new_writer(file), bar.advance)
        total = counts.total()
        by_state = ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items()))
        text = f"Wrote {total:,} to {file}" + (f": {by_state}." if total else ".")
        current.screen.item({"file": str(file), "total": total, "states": counts}, text)


@app.command("list")
def list_access(
    context: typer.Context,
    tenant: Annotated[
        str | None, typer.Option(metavar="ID", help="Only in this Entra tenant.")
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(help="assigned, removing, …, or any. Without it: assigning and assigned."),
    ] = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """List who has access."""
    query = {"tenantId": tenant or "", "state": state or ""}
    chosen = {name: value for name, value in query.items() if value}
    show_list(context, "teams/access", chosen, _SHOWN, limit, as_json=as_json)


@app.command()
def soon(
    context: typer.Context,
    days: Annotated[int, typer.Option(min=0, help="How many days to look ahead.")] = 14,
    as_json: AsJson = False,
) -> None:
    """List whose access ends in the next days, the first end first."""
    until = datetime.now(UTC) + timedelta(days=min(days, 36_500))
    with (
        session(context, as_json=as_json, patience=BULK_PATIENCE) as current,
        current.client() as client,
        current.screen.progress("Reading who has access"),
    ):
        ending = [
            item
            for item in chain.from_iterable(client.pages("teams/access", {}))
            if "expiresOn" in item and datetime.fromisoformat(item["expiresOn"]) <= until
        ]
        ending.sort(key=lambda item: str(item["expiresOn"]))
        current.screen.rows(("expiresOn", "tenantId", "objectId", "principalType"), ending)


@app.command()
def check(
    context: typer.Context,
    who: Annotated[
        str | None, typer.Argument(metavar="TENANT/OBJECT", help="Only this one.")
    ] = None,
    rate: Rate = 20,
    as_json: AsJson = False,
) -> None:
    """Compare what the app knows with what ACS has, and list what differs."""
    with (
        session(context, as_json=as_json, rate=rate, patience=BULK_PATIENCE) as current,
        current.client() as client,
        current.screen.progress("Comparing") as bar,
    ):
        client.on_wait = bar.waiting
        compared = 0
        different = []
        for item in _compared(client, who):
            compared += 1
            bar.advance(1)
            if not item.get("acs", {}).get("matches"):
                different.append({**item, "difference": _difference(item)})
        if different or as_json:
            current.screen.rows(("tenantId", "objectId", "state", "difference"), different)
        current.screen.note(f"Compared {compared:,}: {len(different):,} differ.")
        if different:
            raise Failure(
                Exit.REFUSED,
                "different",
                f"ACS has other values for {len(different):,} of {compared:,}.",
                hint="To let ACS agree with the app, assign or remove the access again.",
            )


def _compared(client: Client, who: str | None) -> Iterator[dict[str, Any]]:
    """Read each access with what ACS has."""
    verify = {"verify": "true"}
    if who is not None:
        yield client.call("GET", _required(who).path, query=verify).content
        return
    not_found = frozenset({HTTPStatus.NOT_FOUND})
    for item in chain.from_iterable(client.pages("teams/access", {})):
        path = f"teams/access/{item.get('tenantId')}/{item.get('objectId')}"
        answer = client.call("GET", path, query=verify, accepted=not_found)
        if answer.failure and not answer.failure.problem:
            raise answer.failure  # not the app's own answer
        if not answer.failure:  # otherwise it was removed meanwhile
            yield answer.content


def _difference(item: Mapping[str, Any]) -> str:
    held = item.get("acs", {})
    if "principalType" not in held:
        return "ACS has no assignment"
    if held["principalType"] != item.get("principalType"):
        return f"ACS has the type {held['principalType']}"
    return f"ACS has the clients {' '.join(held.get('clientIds', ())) or '(none)'}"


_IMPORT = transfer.Import[AccessRecord](
    "teams/access/import",
    "access",
    lambda record: {
        "tenantId": record.tenant_id,
        "objectId": record.object_id,
        **({"expiresOn": record.expires_on} if record.expires_on else {}),
    },
    ("tenantId", "objectId"),
)


def _assign(client: Client, record: AccessRecord) -> transfer.Change:
    body = {
        "principalType": record.principal_type,
        "clientIds": list(record.client_ids),
        **({"expiresOn": record.expires_on} if record.expires_on else {}),
    }
    answer = client.call("PUT", record.path, body)
    return "assigned" if answer.status == HTTPStatus.CREATED else "replaced", {}


def _remove(client: Client, record: AccessRecord) -> transfer.Change:
    client.call("DELETE", record.path)
    return "removed", {}


def _remove_one(current: Session, record: AccessRecord, *, yes: bool) -> None:
    target = current.target()
    text = f"End the access of {record.id} at {target.url}"
    if current.shows_only(text):
        return
    current.screen.confirm(f"{text}?", yes=yes)
    with current.client(target) as client:
        result, _ = _remove(client, record)
    content = {"tenantId": record.tenant_id, "objectId": record.object_id, "result": result}
    current.screen.item(content, f"{record.id} has no access any more.")


def _named(who: str) -> AccessRecord | None:
    """Return the user or the resource account, if these are the two ids of one."""
    tenant, _, user = who.partition("/")
    if not (_is_guid(tenant) and _is_guid(user)):
        return None
    return AccessRecord(0, tenant.lower(), user.lower())


def _required(who: str) -> AccessRecord:
    record = _named(who)
    if record is None:
        raise usage(f"{who} is not TENANT/OBJECT: both must be GUIDs.")
    return record


def _tenant(text: str | None) -> str | None:
    return None if text is None else _checked_guids("--tenant", [text])[0]


def _new_writer(file: Path) -> Callable[[TextIO], Writer]:
    if Format.of(file) is Format.CSV:
        return partial(CsvWriter, columns=_COLUMNS)
    return partial(JsonLinesWriter, first=("tenantId", "objectId"))


def _of_file(
    context: typer.Context, rate: float, *, as_json: bool, dry_run: bool
) -> AbstractContextManager[Session]:
    return session(context, as_json=as_json, rate=rate, patience=BULK_PATIENCE, dry_run=dry_run)


def _bulk(
    current: Session,
    file: Path,
    options: Options,
    name: str,
    do: str,
    apply: Callable[[Client, AccessRecord], transfer.Change],
    *,
    yes: bool,
) -> None:
    """Make a change to each record of a file."""
    run = partial(transfer.Bulk[AccessRecord], apply=apply)
    _work(current, file, options, name, do, run, yes=yes)


def _work(
    current: Session,
    file: Path,
    options: Options,
    name: str,
    do: str,
    new_run: Callable[..., transfer.Importer[AccessRecord] | transfer.Bulk[AccessRecord]],
    *,
    yes: bool,
) -> None:
    """Work on the records of a file, after saying what they are."""
    target = current.target()
    with AccessReader(file, options) as reader:
        summary = reader.check()
        describe(current.screen, summary)
        text = f"{do} {summary.count:,} users and resource accounts at {target.url}"

        def work(client: Client, journal: transfer.Journal, advance: transfer.Advance) -> None:
            new_run(client, journal, advance).run(transfer.unfinished(reader, journal))

        FileRun(current, target, reader, f"teams-{name}", text, work).run(yes=yes)
