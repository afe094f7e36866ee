"""The commands of `acsid`."""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from acsid import __version__, teams, transfer
from acsid.client import Answer, Client, Repeat
from acsid.display import Screen, Stream
from acsid.exports import WRITERS, Format
from acsid.failures import Exit, Failure, usage
from acsid.profile import master_key
from acsid.records import (
    IdentityRecord,
    Options,
    Reader,
    checked_identity,
    checked_tenant,
    checked_user,
    counted,
    is_identity_id,
    is_like_an_identity_id,
)
from acsid.session import (
    IDENTITIES,
    AsJson,
    Choice,
    DryRun,
    FileRun,
    Limit,
    Rate,
    Session,
    SkipBad,
    Yes,
    change,
    describe,
    export_list,
    for_user,
    preview,
    session,
    session_for,
    show_list,
)

_EPILOG = (
    "Exit codes: 0 done, 1 refused (also in part), 2 wrong arguments, settings or file: nothing was"
    " sent, 3 not found, 4 no answer: try again later, 5 the key or the token is not accepted,"
    " 6 not confirmed, 7 standard output or a file cannot be written, 130 interrupted. ACSID_URL"
    " and ACSID_KEY, or ACSID_SCOPE for an app that accepts Entra tokens, or a profile, say which"
    " app to call."
)

app = typer.Typer(
    name="acsid",
    help="Operates acs-identity-service: finds, registers, exports and erases ACS identities.",
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    # A traceback with local variables would show the key.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Identity = Annotated[str, typer.Argument(metavar="ID", help="The id of an identity: 8:acs:…")]
User = Annotated[str | None, typer.Option("--user", metavar="USER", help="The id of its user.")]
MaybeIdentity = Annotated[
    str | None, typer.Argument(metavar="ID", help="The id of an identity: 8:acs:…")
]
EachInFile = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", help="Do it to every identity in a file.")
]
IdColumn = Annotated[str | None, typer.Option(metavar="NAME", help="The column with the ids.")]


def _version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"acsid {__version__}")
        raise typer.Exit


@app.callback()
def choose(
    context: typer.Context,
    profile: Annotated[
        str | None, typer.Option(metavar="NAME", help="A profile of the profile file.")
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file with the key, readable by you only.")
    ] = None,
    entra: Annotated[
        bool, typer.Option("--entra", help="Send an Entra token instead of a key.")
    ] = False,
    version: Annotated[  # noqa: ARG001 -- its callback prints it
        bool,
        typer.Option("--version", callback=lambda value: _version(wanted=value), is_eager=True),
    ] = False,
) -> None:
    """Remember which app to call."""
    context.obj = Choice(profile, key_file, entra)


@app.command()
def ready(context: typer.Context, as_json: AsJson = False) -> None:
    """Show whether ACS and the registry respond, whether the sweep runs and how late it is."""
    with session(context, as_json=as_json) as current, current.client() as client:
        unavailable = frozenset({HTTPStatus.SERVICE_UNAVAILABLE})
        answer = client.call("GET", "ready", accepted=unavailable)
        checks = {name: each for name, each in answer.content.items() if isinstance(each, dict)}
        if answer.failure and not checks:
            raise answer.failure  # not the app's own answer
        if as_json:
            current.screen.item({"ready": not answer.failure, **answer.content})
        else:
            rows = [{"check": name, **_readable(each)} for name, each in checks.items()]
            columns = dict.fromkeys(chain.from_iterable(rows))
            current.screen.rows(list(columns), rows)
        if answer.failure:
            raise Failure(
                Exit.NO_ANSWER,
                "not_ready",
                "The app is not ready.",
                hint="docs/operate.md explains each kind of failure.",
            )


def _readable(check: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a check, with the limit of the count of held purges explained."""
    at_most = 10_000
    held = check.get("heldPurges")
    return {**check, "heldPurges": "10,000 or more"} if held == at_most else dict(check)


@app.command()
def find(
    context: typer.Context,
    who: Annotated[str, typer.Argument(metavar="USER|ID", help="A user id, or an identity's id.")],
    as_json: AsJson = False,
) -> None:
    """Find the identity of a user, or an identity by its id, in any state."""
    with session(context, as_json=as_json) as current, current.client() as client:
        if not who:
            raise usage("USER or ID is empty.")
        found = _by_id(client, who) if is_identity_id(who) else _by_user(client, who)
        current.screen.item(found)


def _by_id(client: Client, identity_id: str) -> dict[str, Any]:
    not_found = frozenset({HTTPStatus.NOT_FOUND})
    answer = client.call("GET", f"identities/{identity_id}", accepted=not_found)
    if answer.failure and answer.failure.code == "identity_deleted":
        return client.call("GET", f"deleted-identities/{identity_id}").content
    if answer.failure:
        raise answer.failure
    return answer.content


def _by_user(client: Client, user: str) -> dict[str, Any]:
    items = list(chain.from_iterable(client.pages("identities", {"userId": user})))
    if not items and is_like_an_identity_id(user):
        checked_identity(user)
    if not items:
        raise Failure(
            Exit.NOT_FOUND,
            "user_not_found",
            f"No identity belongs to the user {user}.",
            hint="User ids are compared byte by byte. A user who signs in with Entra is"
            " aad/<tenant>/<object id>.",
        )
    item = items[0]
    if item.get("state") not in ("deleted", "purging"):
        return item
    not_found = frozenset({HTTPStatus.NOT_FOUND})
    path = f"deleted-identities/{item['id']}"
    deleted = client.call("GET", path, accepted=not_found)
    return item if deleted.failure else deleted.content


@app.command("list")
def list_identities(
    context: typer.Context,
    state: Annotated[
        str | None,
        typer.Option(help="active, deleted, …, or any. Without it: active and suspended."),
    ] = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """List identities."""
    query = {"state": state} if state else {}
    columns = ["id", "state", "userId", "createdOn", "knownOn", "suspendedOn"]
    if state:
        columns.append("deletedBy")
    show_list(context, "identities", query, columns, limit, as_json=as_json)


_DELETED_COLUMNS = (
    "id",
    "state",
    "userId",
    "deletedOn",
    "deletedBy",
    "scheduledPurgeOn",
    "suspendedOn",
    "attempts",
    "lastError",
)


@app.command()
def deleted(
    context: typer.Context,
    deleted_by: Annotated[
        Literal["service", "user"] | None, typer.Option(help="Only what they have deleted.")
    ] = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """List deleted identities, in the order of their purge."""
    query: dict[str, str] = {"deletedBy": deleted_by} if deleted_by else {}
    show_list(context, "deleted-identities", query, _DELETED_COLUMNS, limit, as_json=as_json)


@app.command()
def stuck(context: typer.Context, limit: Limit = None, as_json: AsJson = False) -> None:
    """List deleted identities whose tokens the sweep cannot revoke or that it cannot purge."""
    query = {"stuck": "true"}
    show_list(context, "deleted-identities", query, _DELETED_COLUMNS, limit, as_json=as_json)


@app.command()
def create(
    context: typer.Context, user: User = None, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Create an identity. A user who has one already keeps it."""
    with session(context, as_json=as_json, dry_run=dry_run) as current:
        if user is not None:
            checked_user(user)
        target = current.target()
        if current.shows_only(f"Create an identity{for_user(user)} at {target.url}"):
            return
        # Without a user, each request creates another identity.
        repeat = Repeat.ALWAYS if user else Repeat.UNSENT
        body = {"userId": user} if user else {}
        with current.client(target) as client:
            answer = client.call("POST", "identities", body, repeat=repeat)
        is_new = answer.status == HTTPStatus.CREATED
        identity_id = answer.content.get("id")
        text = f"Created {identity_id}{for_user(user)}."
        if not is_new:
            text = f"{user} already has {identity_id}."
        current.screen.item({"id": identity_id, "created": is_new}, text)


@app.command()
def token(
    context: typer.Context,
    identity_id: Identity,
    scope: Annotated[
        list[str],
        typer.Option(
            metavar="SCOPE",
            help="chat, chat.join, chat.join.limited, voip or voip.join; repeat it.",
        ),
    ],
    minutes: Annotated[int | None, typer.Option(help="The lifetime, 60 to 1440.")] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Issue an access token. The output is a secret."""
    with session(context, as_json=as_json, dry_run=dry_run) as current:
        checked_identity(identity_id)
        target = current.target()
        text = f"Issue a token for {identity_id} with {', '.join(scope)} at {target.url}"
        if current.shows_only(text):
            return
        body: dict[str, Any] = {"scopes": scope}
        if minutes is not None:
            body["expiresInMinutes"] = minutes
        with current.client(target) as client:
            answer = client.call("POST", f"identities/{identity_id}/tokens", body)
        current.screen.item(answer.content)


@app.command()
def revoke(
    context: typer.Context,
    identity_id: Identity,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Revoke all access tokens of an identity. New ones can be issued afterwards."""
    with session(context, as_json=as_json, dry_run=dry_run) as current:
        change(
            current,
            identity_id,
            lambda client: client.call("DELETE", f"identities/{identity_id}/tokens"),
            do="Revoke all tokens of",
            done="Revoked all tokens of",
            result="revoked",
            confirmed=yes,
        )


@app.command()
def register(
    context: typer.Context,
    identity_id: Identity,
    user: User = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Register an identity that was created elsewhere in the same ACS resource."""
    with session(context, as_json=as_json, dry_run=dry_run) as current:
        checked_identity(identity_id)
        if user is not None:
            checked_user(user)
        target = current.target()
        if current.shows_only(f"Register {identity_id}{for_user(user)} at {target.url}"):
            return
        body = {"userId": user} if user else {}
        with current.client(target) as client:
            try:
                answer = client.call("PUT", f"identities/{identity_id}", body)
            except Failure as failure:
                failure.hint = "" if failure.exit_code is Exit.NOT_FOUND else failure.hint
                raise
        is_new = answer.status == HTTPStatus.CREATED
        text = f"Registered {identity_id}{for_user(user)}."
        if not is_new:
            text = f"{identity_id} was already registered{for_user(user)}."
        current.screen.item({**answer.content, "registered": is_new}, text)


@app.command()
def unregister(
    context: typer.Context,
    identity_id: Identity,
    user: User = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Forget an active identity. ACS keeps it, and its tokens stay valid: revoke them first."""
    query = {"userId": user} if user else None
    path = f"identities/{identity_id}/registration"
    with session(context, as_json=as_json, dry_run=dry_run) as current:
        change(
            current,
            identity_id,
            lambda client: _removed(client, path, query),
            do="Forget",
            done="The app has forgotten",
            result="unregistered",
            confirmed=yes,
        )


def _add_change(kind: transfer.Kind, description: str) -> None:
    """Add the command that makes this change to one identity, or to those in a file."""

    def command(
        context: typer.Context,
        identity_id: MaybeIdentity = None,
        file: EachInFile = None,
        id_column: IdColumn = None,
        skip_bad: SkipBad = False,
        rate: Rate = 20,
        yes: Yes = False,
        dry_run: DryRun = False,
        as_json: AsJson = False,
    ) -> None:
        chosen = _the_id(identity_id, file)
        with session_for(context, file, rate, as_json=as_json, dry_run=dry_run) as current:
            options = Options(with_users=False, id_column=id_column, skip_bad=skip_bad)
            _change(current, file or chosen, options, kind, yes=yes)

    app.command(kind.name, help=description)(command)


_add_change(
    transfer.SUSPEND, "Suspend an identity, or those in a file. They get no token until resumed."
)
_add_change(
    transfer.RESUME, "Resume a suspended identity, or those in a file. Old tokens stay revoked."
)
_add_change(
    transfer.DELETE,
    "Delete an identity, or those in a file. They can be restored until the sweep purges them.",
)


@app.command()
def restore(
    context: typer.Context,
    identity_id: MaybeIdentity = None,
    file: EachInFile = None,
    deleted_by: Annotated[
        Literal["service", "user", "any"] | None,
        typer.Option(
            help="With --file: only what a service has deleted (the default), or users, or any."
        ),
    ] = None,
    id_column: IdColumn = None,
    skip_bad: SkipBad = False,
    rate: Rate = 20,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Restore a deleted identity, or those in a file. Old tokens stay revoked."""
    chosen = _the_id(identity_id, file)
    if deleted_by and not file:
        raise typer.BadParameter("--deleted-by needs --file")
    # People who have deleted themselves do not come back unless the operator says so.
    wanted = (deleted_by or "service") if file else "any"
    kind = replace(transfer.RESTORE, deleted_by=None if wanted == "any" else wanted)
    with session_for(context, file, rate, as_json=as_json, dry_run=dry_run) as current:
        options = Options(with_users=False, id_column=id_column, skip_bad=skip_bad)
        _change(current, file or chosen, options, kind, yes=yes)


@app.command()
def purge(
    context: typer.Context,
    identity_id: Identity,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Purge a deleted identity now, with its chat messages. This cannot be undone."""
    path = f"deleted-identities/{identity_id}"
    with session(context, as_json=as_json, dry_run=dry_run) as current:
        change(
            current,
            identity_id,
            lambda client: _removed(client, path, None),
            do="Purge for ever, with all its data,",
            done="Purged",
            result="purged",
            confirmed=yes,
        )


@app.command()
def sweep(
    context: typer.Context, yes: Yes = False, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Start the sweep now: it purges what is due. Reads the master key from ACSID_MASTER_KEY."""
    with session(context, as_json=as_json, dry_run=dry_run) as current:
        target = current.target(needs_key=False)
        key = master_key(os.environ)
        text = f"Start the sweep at {target.url}, which purges for ever what is due"
        if current.shows_only(text):
            return
        current.screen.confirm(f"{text}?", yes=yes)
        with current.client(target) as client:
            client.start_sweep(key)
        current.screen.item({"started": True}, "The sweep has started. The app's log reports it.")


@app.command("import")
def import_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or JSON Lines.")],
    entra_tenant: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The users are object ids of this Entra tenant."),
    ] = None,
    id_column: IdColumn = None,
    user_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The column with the users.")
    ] = None,
    no_users: Annotated[
        bool, typer.Option("--no-users", help="Register the identities without users.")
    ] = False,
    skip_bad: SkipBad = False,
    rate: Rate = 5,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Register the identities in a file. Run it again to continue after an interruption."""
    with session_for(context, file, rate, as_json=as_json, dry_run=dry_run) as current:
        options = Options(
            id_column=id_column,
            user_column=user_column,
            no_users=no_users,
            tenant=checked_tenant(entra_tenant) if entra_tenant is not None else None,
            skip_bad=skip_bad,
        )
        target = current.target()
        with Reader(file, options) as reader:
            summary = reader.check()
            describe(current.screen, summary)
            text = f"Register {counted(summary.count, *IDENTITIES)}"
            text += f", {summary.with_user:,} of them with a user, at {target.url}"
            work = partial(transfer.Importer[IdentityRecord], operation=transfer.IMPORT)
            FileRun(current, target, reader, "import", text, work).run(yes=yes)


@app.command("export")
def export_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    kind: Annotated[
        Format | None, typer.Option("--format", help="Without it, the name of the file decides.")
    ] = None,
    rate: Rate = 20,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Write every identity, in every state, to a file that only you can read."""
    new_writer = WRITERS[kind or Format.of(file)]
    export_list(context, "identities", IDENTITIES, file, new_writer, rate, yes=yes, as_json=as_json)


def _the_id(identity_id: str | None, file: Path | None) -> str:
    if (identity_id is None) == (file is None):
        raise typer.BadParameter("give either an ID or --file FILE")
    return identity_id or ""


def _removed(client: Client, path: str, query: Mapping[str, str] | None) -> Answer:
    """Remove something. If an attempt without an answer has removed it, that is a success."""
    not_found = frozenset({HTTPStatus.NOT_FOUND})
    answer = client.call("DELETE", path, query=query, accepted=not_found)
    if answer.failure and not (answer.was_repeated and answer.failure.problem):
        raise answer.failure
    return Answer(answer.status, {})


def _change(
    current: Session, what: str | Path, options: Options, kind: transfer.Kind, *, yes: bool
) -> None:
    """Change one identity, or those in a file after showing what that does."""
    if isinstance(what, str):
        change(
            current,
            what,
            lambda client: kind.act(client, what),
            do=kind.name.capitalize(),
            done=kind.result.capitalize(),
            result=kind.result,
            confirmed=yes or not kind.asks,
        )
        return
    target = current.target()
    with Reader(what, options) as reader:
        describe(current.screen, reader.check())
        text, found = preview(current, target, reader, kind)
        work = partial(transfer.Bulk[IdentityRecord], apply=kind.apply)
        run = FileRun(current, target, reader, kind.name, text, work, found, kind.deleted_by)
        run.run(yes=yes)


app.add_typer(teams.app)


def run() -> None:
    """Run the command line."""
    sys.stdout = Stream.wrap(sys.stdout, must_arrive=True)
    sys.stderr = Stream.wrap(sys.stderr, must_arrive=False)
    try:
        app()
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped.\n")
        raise SystemExit(Exit.INTERRUPTED) from None
    except Failure as failure:  # of the help, for example, which is no command with a screen
        Screen().failure(failure)
        raise SystemExit(failure.exit_code) from None


if __name__ == "__main__":
    run()
