"""The commands of `acsid teams`: who has Teams Phone access."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from acsid import transfer
from acsid.access_records import AccessOptions, AccessReader, AccessRecord
from acsid.client import Client
from acsid.exports import CsvWriter, Format, JsonLinesWriter, Writer
from acsid.failures import Exit, Failure, usage
from acsid.records import counted, is_guid
from acsid.session import (
    AsJson,
    DryRun,
    FileRun,
    Limit,
    Rate,
    Session,
    SkipBad,
    Work,
    Yes,
    describe,
    export_list,
    session,
    session_for,
    show_list,
)

app = typer.Typer(
    name="teams",
    help="Teams Phone access: who may use the ACS resource with their own Entra sign-in.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_KEYS = ("tenantId", "objectId")
_COLUMNS = (
    *_KEYS,
    "principalType",
    "clientIds",
    "expiresOn",
    "state",
    "createdOn",
    "changedOn",
)
_SHOWN = (*_KEYS, "state", "principalType", "expiresOn", "attempts", "lastError")

_WHO = ("user or resource account", "users and resource accounts")

Tenant = Annotated[
    str | None, typer.Option(metavar="ID", help="The Entra tenant of rows that name none.")
]


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
    with session_for(context, file, rate, as_json=as_json, dry_run=dry_run) as current:
        options = AccessOptions(
            (*_KEYS, "principalType", "clientIds", "expiresOn"),
            _tenant(tenant),
            _checked_guids("--client", client or ()),
            skip_bad=skip_bad,
        )
        work = partial(transfer.Bulk[AccessRecord], apply=_assign)
        _work(current, file, options, "assign", "Give access to", work, yes=yes)


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
    one = AccessRecord.named(who)
    file = None if one else Path(who)
    with session_for(context, file, rate, as_json=as_json, dry_run=dry_run) as current:
        if one:
            _remove_one(current, one, yes=yes)
            return
        options = AccessOptions(_KEYS, _tenant(tenant), skip_ended=False, skip_bad=skip_bad)
        work = partial(transfer.Bulk[AccessRecord], apply=_remove)
        _work(current, Path(who), options, "remove", "End the access of", work, yes=yes)


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
    with session_for(context, file, rate, as_json=as_json, dry_run=dry_run) as current:
        options = AccessOptions((*_KEYS, "expiresOn"), _tenant(tenant), skip_bad=skip_bad)
        work = partial(transfer.Importer[AccessRecord], operation=_IMPORT)
        _work(current, file, options, "import", "Take over the assignments of", work, yes=yes)


@app.command("export")
def export_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    rate: Rate = 20,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Write all access, in every state, to a file that only you can read."""
    new_writer: Callable[[TextIO], Writer] = partial(JsonLinesWriter, first=_KEYS)
    if Format.of(file) is Format.CSV:
        new_writer = partial(CsvWriter, columns=_COLUMNS)
    export_list(context, "teams/access", _WHO, file, new_writer, rate, yes=yes, as_json=as_json)


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
    with session(context, as_json=as_json):
        query = {"tenantId": _tenant(tenant) or "", "state": state or ""}
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
        session(context, as_json=as_json) as current,
        current.client() as client,
        current.screen.progress("Reading who has access"),
    ):
        ending = [
            item
            for item in chain.from_iterable(client.pages("teams/access", {}))
            if "expiresOn" in item and datetime.fromisoformat(item["expiresOn"]) <= until
        ]
        ending.sort(key=lambda item: str(item["expiresOn"]))
        current.screen.rows(("expiresOn", *_KEYS, "principalType"), ending)


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
        session(context, as_json=as_json, rate=rate) as current,
        current.client() as client,
        current.screen.progress("Comparing") as bar,
    ):
        compared = 0
        different = []
        for item in _compared(client, who):
            compared += 1
            bar.advance(1)
            if not item.get("acs", {}).get("matches"):
                different.append({**item, "difference": _difference(item)})
        if different or as_json:
            current.screen.rows((*_KEYS, "state", "difference"), different)
        differ = counted(len(different), "differs", "differ")
        current.screen.note(f"Compared {compared:,}: {differ}.")
        if different:
            raise Failure(
                Exit.REFUSED,
                "different",
                f"ACS has other values for {len(different):,} of {compared:,}.",
                hint="To make ACS agree with the app, assign or remove the access again.",
            )


def _compared(client: Client, who: str | None) -> Iterator[dict[str, Any]]:
    """Read each access with what ACS has."""
    verify = {"verify": "true"}
    if who is not None:
        record = AccessRecord.named(who)
        if record is None:
            raise usage(f"{who} is not TENANT/OBJECT: both must be GUIDs.")
        yield client.call("GET", record.path, query=verify).content
        return
    for item in chain.from_iterable(client.pages("teams/access", {})):
        path = f"teams/access/{item.get('tenantId')}/{item.get('objectId')}"
        if found := client.find(path, verify):  # otherwise it was removed meanwhile
            yield found


def _difference(item: Mapping[str, Any]) -> str:
    held = item.get("acs", {})
    if "principalType" not in held:
        return "ACS has no assignment"
    # A resource account has two names, which the service takes as one.
    if (held["principalType"] == "user") != (item.get("principalType") == "user"):
        return f"ACS has the type {held['principalType']}"
    return f"ACS has the clients {' '.join(held.get('clientIds', ())) or '(none)'}"


_IMPORT = transfer.Import[AccessRecord](
    "teams/access/import",
    "access",
    lambda record: {
        "tenantId": record.tenant_id,
        "objectId": record.object_id,
        **_until(record),
    },
    _KEYS,
)


def _until(record: AccessRecord) -> dict[str, str]:
    return {"expiresOn": record.expires_on} if record.expires_on else {}


def _assign(client: Client, record: AccessRecord) -> transfer.Change:
    body = {
        "principalType": record.principal_type,
        "clientIds": list(record.client_ids),
        **_until(record),
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


def _checked_guids(option: str, values: Sequence[str]) -> tuple[str, ...]:
    for value in values:
        if not is_guid(value.strip()):
            raise usage(f"{option} {value} is not an id: it must be a GUID.")
    return tuple(value.strip().lower() for value in values)


def _tenant(text: str | None) -> str | None:
    return None if text is None else _checked_guids("--tenant", [text])[0]


def _work(
    current: Session,
    file: Path,
    options: AccessOptions,
    name: str,
    do: str,
    work: Work,
    *,
    yes: bool,
) -> None:
    """Work on the records of a file, after saying what they are."""
    target = current.target()
    work_name = f"teams-{name}"
    with AccessReader(file, options, transfer.started(file, work_name)) as reader:
        summary = reader.check()
        describe(current.screen, summary)
        text = f"{do} {counted(summary.count, *_WHO)} at {target.url}"
        FileRun(current, target, reader, work_name, text, work).run(yes=yes)
