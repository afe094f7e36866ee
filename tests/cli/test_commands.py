"""Each command: what it sends, what it prints, and how it ends."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.service import KEY, Answer, Service, identity, problem

ID = identity(1)
COMMANDS = {
    "ready",
    "find",
    "list",
    "deleted",
    "stuck",
    "create",
    "token",
    "revoke",
    "register",
    "unregister",
    "suspend",
    "resume",
    "teams",
    "import",
    "export",
    "delete",
    "restore",
    "purge",
    "sweep",
}
MASTER = {"ACSID_MASTER_KEY": "the-master-key"}

# Commands that change one identity: the arguments, and the request that they send.
CHANGES = {
    "create": (["create", "--user", "bob"], "POST /api/identities"),
    "token": (["token", ID, "--scope", "chat"], f"POST /api/identities/{ID}/tokens"),
    "revoke": (["revoke", ID, "--yes"], f"DELETE /api/identities/{ID}/tokens"),
    "register": (["register", ID], f"PUT /api/identities/{ID}"),
    "unregister": (["unregister", ID, "--yes"], f"DELETE /api/identities/{ID}/registration"),
    "suspend": (["suspend", ID, "--yes"], f"POST /api/identities/{ID}/suspend"),
    "resume": (["resume", ID], f"POST /api/identities/{ID}/resume"),
    "delete": (["delete", ID, "--yes"], f"DELETE /api/identities/{ID}"),
    "restore": (["restore", ID], f"POST /api/deleted-identities/{ID}/restore"),
    "purge": (["purge", ID, "--yes"], f"DELETE /api/deleted-identities/{ID}"),
}
each_change = pytest.mark.parametrize(
    ("arguments", "request_line"), CHANGES.values(), ids=CHANGES.keys()
)


def test_the_help_lists_every_command(acsid: Run) -> None:
    """`acsid --help` names every command, and the exit codes."""
    shown = acsid("--help")

    listed = shown.output.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert {line.split()[0] for line in listed if line[2] != " "} == COMMANDS
    assert "Exit codes: 0 done" in shown.output


@pytest.mark.parametrize("command", sorted(COMMANDS - {"teams"}))  # a group: test_teams.py
def test_each_command_has_a_help(acsid: Run, command: str) -> None:
    """Each command explains itself, and can print JSON."""
    shown = acsid(command, "--help")

    assert (shown.code, shown.errors) == (0, "")
    assert f"Usage: acsid {command}" in shown.output
    assert "--json" in shown.output


def test_the_shell_completes_commands() -> None:
    """The installed program answers the questions of a shell's completion."""
    program = Path(sys.executable).with_name("acsid")
    asked = {"_ACSID_COMPLETE": "complete_bash", "COMP_WORDS": "acsid re", "COMP_CWORD": "1"}
    completed = subprocess.run(  # noqa: S603 -- our own program
        [program], env=asked, capture_output=True, text=True, check=False
    )

    assert completed.stdout.split() == [
        "ready",
        "revoke",
        "register",
        "resume",
        "restore",
    ]


@each_change
def test_a_change_is_one_request(
    acsid: Run, service: Service, arguments: list[str], request_line: str
) -> None:
    """A command that changes an identity sends one request, with the function key."""
    service.add(1)
    ended = acsid(*arguments, "--json")

    assert ended.code == 0, ended.errors
    assert [f"{each.method} {each.path}" for each in service.received] == [request_line]
    assert service.received[0].headers["x-functions-key"] == KEY
    assert isinstance(ended.json(), dict)


@each_change
def test_a_dry_run_sends_nothing(
    acsid: Run, service: Service, arguments: list[str], request_line: str
) -> None:
    """With --dry-run, a command says what it would do and sends nothing."""
    ended = acsid(*arguments, "--dry-run", "--json")

    assert ended.code == 0, ended.errors
    assert ended.json()["dryRun"] is True
    assert service.received == [], request_line


@pytest.mark.parametrize("command", ["revoke", "unregister", "suspend", "delete", "purge"])
def test_what_stops_a_user_needs_a_yes(acsid: Run, service: Service, command: str) -> None:
    """Without a terminal and without --yes, nothing is sent: exit code 6."""
    ended = acsid(command, ID)

    assert ended.code == 6
    assert "--yes" in ended.errors
    assert service.received == []


@pytest.mark.parametrize(
    "command",
    ["revoke", "register", "unregister", "suspend", "resume", "delete", "restore", "purge"],
)
@pytest.mark.parametrize("text", ["alice", "8:acs:", f"{ID}/tokens", ID.upper(), f"{ID}?x"])
def test_other_text_is_not_sent_as_an_id(
    acsid: Run, service: Service, command: str, text: str
) -> None:
    """What is not the id of an identity is refused before anything is sent: exit code 2."""
    ended = acsid(command, text)

    assert ended.code == 2
    assert "is not the id of an identity" in ended.errors
    assert service.received == []


def test_ready_shows_each_check(acsid: Run) -> None:
    """`ready` has a row for ACS, the registry and the sweep, and explains the limit of a count."""
    shown = acsid("ready")

    assert [line.split()[:2] for line in shown.output.splitlines()[1:]] == [
        ["acs", "ok"],
        ["registry", "ok"],
        ["sweep", "missed"],
    ]
    assert all(text in shown.output for text in ("10,000 or more", "900", "890"))


def test_an_app_that_is_not_ready_fails(acsid: Run, service: Service) -> None:
    """`ready` shows a failed check and ends with exit code 4, without trying again."""
    failed = {"status": "acs_unavailable", "kind": "dns", "latencyMs": 3}
    body = {"acs": failed, "registry": {"status": "ok", "latencyMs": 7}}
    service.answers.append(Answer(503, body))
    shown = acsid("ready", "--json")

    assert shown.code == 4
    assert shown.json() == {"ready": False, **body}
    assert len(service.received) == 1


def test_find_a_user(acsid: Run, service: Service) -> None:
    """`find USER` shows the user's identity with one request."""
    service.add(1, "alice@example.com")
    found = acsid("find", "alice@example.com", "--json")

    assert found.json() == service.identities[ID]
    assert service.received[0].query["userId"] == "alice@example.com"
    assert len(service.received) == 1


def test_find_a_deleted_user(acsid: Run, service: Service) -> None:
    """The identity of a user is found when it is deleted, too."""
    service.add(1, "alice", "deleted")
    found = acsid("find", "alice", "--json")

    assert found.json()["state"] == "deleted"
    assert service.calls("GET") == ["/api/identities", f"/api/deleted-identities/{ID}"]


@pytest.mark.parametrize("state", ["active", "deleted", "purging"])
def test_find_an_id(acsid: Run, service: Service, state: str) -> None:
    """`find ID` shows the identity, deleted or not, also while it is being purged."""
    service.add(1, "alice", state)
    found = acsid("find", ID, "--json")

    assert found.json()["state"] == state


@pytest.mark.parametrize(
    "arguments", [["find", "\udcff"], ["list", "--state", "\udcff"], ["create", "--user", "\udcff"]]
)
def test_an_argument_that_is_not_utf_8(acsid: Run, service: Service, arguments: list[str]) -> None:
    """Bytes that are not UTF-8 are refused before anything is sent."""
    ended = acsid(*arguments)

    assert (ended.code, service.received) == (2, [])
    assert "not UTF-8" in ended.errors


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (ID.upper(), "must be in lower case"),
        (f"{ID} ", "must have no white space around it"),
        ("8:acs:x", "must look like 8:acs:<GUID>_<GUID>"),
    ],
)
def test_what_is_meant_as_an_id_is_not_called_a_user(acsid: Run, text: str, problem: str) -> None:
    """`find` says what is wrong with the id, and what one looks like: exit code 2."""
    ended = acsid("find", text)

    assert ended.code == 2
    assert f"is not the id of an identity: it {problem}." in ended.errors
    assert "An id looks like 8:acs:<GUID>_<GUID>, in lower case." in ended.errors


def test_user_ids_of_an_earlier_release_are_found(acsid: Run, service: Service) -> None:
    """Earlier releases accepted user ids that look like the id of an identity."""
    service.add(1, "8:ACS:x")

    assert acsid("find", "8:ACS:x", "--json").json()["id"] == ID


def test_nothing_to_find(acsid: Run, service: Service) -> None:
    """An empty argument, for example an unset variable of a script, is not sent: exit code 2."""
    assert acsid("find", "").code == 2
    assert service.received == []


@pytest.mark.parametrize("who", ["alice", ID])
def test_nothing_found(acsid: Run, who: str) -> None:
    """If nothing is found, the exit code is 3 and there is no output."""
    found = acsid("find", who, "--json")

    assert (found.code, found.output) == (3, "")
    assert found.error()["exitCode"] == 3


def test_a_list_has_a_row_for_each_identity(acsid: Run, service: Service) -> None:
    """`list` prints one row for each identity, in one line each, however long."""
    service.add(1, "u" * 256)
    service.add(2)
    shown = acsid("list").output.splitlines()

    assert shown[0].split() == ["id", "state", "userId", "createdOn", "knownOn", "suspendedOn"]
    assert shown[1].split() == [ID, "active", "u" * 256, "2030-01-01T00:00:00Z"]
    assert len(shown) == 3


def test_a_long_list_says_that_there_is_more(acsid: Run, service: Service) -> None:
    """A table has 100 rows at most, and says so."""
    for number in range(101):
        service.add(number)
    shown = acsid("list")

    assert len(shown.output.splitlines()) == 101
    assert "--limit 0" in shown.errors


@pytest.mark.parametrize("limit", [1, 2**63 - 1, 2**63, 10**20])
def test_any_limit(acsid: Run, service: Service, limit: int) -> None:
    """Any whole number limits a list."""
    service.add(1)
    service.add(2)
    shown = acsid("list", "--limit", limit)

    assert (shown.code, len(shown.output.splitlines())) == (0, 1 + min(limit, 2))


def test_a_script_gets_the_whole_list(acsid: Run, service: Service) -> None:
    """With --json, `list` prints one line for each identity, of every page."""
    service.page = 40
    for number in range(101):
        service.add(number)
    shown = acsid("list", "--json")

    assert [each["id"] for each in shown.lines()] == [identity(number) for number in range(101)]


def test_the_state_is_sent(acsid: Run, service: Service) -> None:
    """`list --state` asks for that state only, also for one that acsid does not know."""
    service.add(1, state="frozen")
    shown = acsid("list", "--state", "frozen", "--json")

    assert [each["state"] for each in shown.lines()] == ["frozen"]


def test_stuck_identities(acsid: Run, service: Service) -> None:
    """`stuck` asks only for deleted identities that are stuck."""
    acsid("stuck")

    assert service.received[0].path == "/api/deleted-identities"
    assert service.received[0].query["stuck"] == "true"


def test_deleted_identities(acsid: Run, service: Service) -> None:
    """`deleted` lists deleted identities."""
    service.add(1, state="deleted")
    service.add(2)
    shown = acsid("deleted", "--json")

    assert [each["id"] for each in shown.lines()] == [ID]


@pytest.mark.parametrize("actor", ["service", "user"])
def test_identities_deleted_by_an_actor(acsid: Run, service: Service, actor: str) -> None:
    """`deleted --deleted-by` asks only for what a service, or users, have deleted."""
    service.add(1, state="deleted", deleted_by=actor)
    acsid("deleted", "--deleted-by", actor)

    assert service.received[0].query["deletedBy"] == actor


def test_who_has_deleted_it_is_shown(acsid: Run, service: Service) -> None:
    """`deleted`, `list --state` and `find` show who has deleted an identity."""
    service.add(1, state="deleted", deleted_by="service")
    shown = [acsid("deleted"), acsid("list", "--state", "deleted"), acsid("find", ID)]

    assert [ended.output.count("deletedBy") for ended in shown] == [1, 1, 1]
    assert [ended.output.split().count("service") for ended in shown] == [1, 1, 1]


def test_suspended_identities_are_shown(acsid: Run, service: Service) -> None:
    """`list` and `find` show that an identity is suspended, and since when."""
    service.add(1)
    acsid("suspend", ID, "--yes")
    shown = acsid("list").output, acsid("find", ID).output

    assert all("suspended" in text and "2030-01-02T00:00:00Z" in text for text in shown)


def test_an_identity_that_is_still_suspended(acsid: Run, service: Service) -> None:
    """`restore` says so if the identity was suspended when it was deleted."""
    service.add(1)
    acsid("suspend", ID, "--yes")
    acsid("delete", ID, "--yes")
    restored = acsid("restore", ID)

    assert restored.output == f"Restored {ID}. It is still suspended: acsid resume {ID}.\n"


def test_a_user_keeps_their_identity(acsid: Run, service: Service) -> None:
    """`create --user` says whether the identity is new."""
    service.add(1, "alice")
    created = acsid("create", "--user", "alice", "--json")

    assert created.json() == {"id": ID, "created": False}


def test_a_token_is_printed(acsid: Run, service: Service) -> None:
    """`token` sends all scopes and the lifetime, and prints the token."""
    shown = acsid("token", ID, "--scope", "chat", "--scope", "voip", "--minutes", 60)

    assert service.received[0].body == {"scopes": ["chat", "voip"], "expiresInMinutes": 60}
    assert "a-token" in shown.output


def test_the_user_is_sent_when_registering(acsid: Run, service: Service) -> None:
    """`register --user` sends the user; repeated, it says that nothing changed."""
    first, second = (acsid("register", ID, "--user", "alice", "--json") for _ in range(2))

    assert service.received[0].body == {"userId": "alice"}
    assert (first.json()["registered"], second.json()["registered"]) == (True, False)


@pytest.mark.parametrize("user", ["", " alice", "a\nb", "x" * 257, identity(2)])
def test_an_invalid_user_is_not_registered(acsid: Run, service: Service, user: str) -> None:
    """A text that cannot be a user id is refused before anything is sent."""
    ended = acsid("register", ID, "--user", user)

    assert ended.code == 2
    assert service.received == []


def test_the_expected_user_is_sent_when_unregistering(acsid: Run, service: Service) -> None:
    """`unregister --user` forgets the identity only if it belongs to that user."""
    service.add(1, "alice")
    acsid("unregister", ID, "--user", "a&b=c", "--yes")

    assert service.received[0].query == {"userId": "a&b=c"}


def test_a_deletion_says_until_when_it_can_be_restored(acsid: Run, service: Service) -> None:
    """`delete` prints the date of the purge."""
    service.add(1)
    ended = acsid("delete", ID, "--yes")

    assert "2030-01-09T00:00:00Z" in ended.output


@pytest.mark.parametrize("arguments", [[], [ID, "--file", "f.csv"]], ids=["neither", "both"])
@pytest.mark.parametrize("command", ["suspend", "resume", "delete", "restore"])
def test_an_id_or_a_file(acsid: Run, command: str, arguments: list[str]) -> None:
    """What can be done to many takes either an id or a file."""
    ended = acsid(command, *arguments)

    assert ended.code == 2
    assert "either an ID or --file" in ended.errors


def test_the_sweep_is_started_with_the_master_key(acsid: Run, service: Service) -> None:
    """`sweep` sends the master key, and needs no other key."""
    service.answers.append(Answer(202))
    ended = acsid("sweep", "--yes", env={"ACSID_URL": service.url, **MASTER})

    assert ended.code == 0, ended.errors
    assert service.received[0].path == "/admin/functions/purge_deleted_identities"
    assert service.received[0].headers["x-functions-key"] == MASTER["ACSID_MASTER_KEY"]
    assert service.received[0].body == {"input": ""}


def test_the_sweep_needs_the_master_key(acsid: Run, service: Service) -> None:
    """Without the master key, `sweep` sends nothing."""
    ended = acsid("sweep", "--yes")

    assert ended.code == 2
    assert "ACSID_MASTER_KEY" in ended.errors
    assert service.received == []


def test_the_sweep_is_confirmed(acsid: Run, service: Service) -> None:
    """The sweep purges for ever, so it needs a yes."""
    ended = acsid("sweep", env={"ACSID_URL": service.url, **MASTER})

    assert ended.code == 6
    assert service.received == []


def test_a_wrong_key(acsid: Run, service: Service) -> None:
    """If the app does not accept the key, the exit code is 5."""
    ended = acsid("list", env={"ACSID_URL": service.url, "ACSID_KEY": "wrong"})

    assert ended.code == 5
    assert "does not accept the key" in ended.errors


def test_a_problem_is_shown_in_full(acsid: Run, service: Service) -> None:
    """A problem's detail, field, allowed values and identity are shown to people and scripts."""
    fields = {"detail": "It has one.", "field": "userId", "allowed": "x", "identityId": identity(2)}
    service.answers.extend([problem(409, "user_has_identity", **fields)] * 2)
    for_people = acsid("register", ID, "--user", "alice").errors
    for_scripts = acsid("register", ID, "--user", "alice", "--json").error()

    assert all(text in for_people for text in fields.values())
    assert {name: for_scripts[name] for name in fields} == fields
    assert (for_scripts["code"], for_scripts["exitCode"]) == ("user_has_identity", 1)
    assert f"acsid find {identity(2)}" in for_people


def test_a_problem_says_nothing_twice(acsid: Run, service: Service) -> None:
    """A detail that begins with the title replaces it, and an id that it names is not added."""
    detail = f"The identity is deleted. POST deleted-identities/{ID}/restore restores it."
    fields = {"title": "The identity is deleted", "detail": detail, "identityId": ID}
    service.answers.append(problem(409, "identity_deleted", **fields, deletedBy="service"))
    ended = acsid("token", ID, "--scope", "chat")

    assert ended.errors == f"acsid: {detail}\nacsid restore {ID} takes the deletion back.\n"


def test_no_way_back_is_offered_during_a_purge(acsid: Run, service: Service) -> None:
    """The app then says of nobody that they deleted it."""
    detail = "The identity is being purged and cannot be restored."
    service.answers.append(problem(409, "identity_deleted", title="", detail=detail))
    ended = acsid("token", ID, "--scope", "chat")

    assert ended.errors == f"acsid: {detail}\n"


def test_errors_of_scripts_are_one_line_of_json(acsid: Run) -> None:
    """With --json, standard error has one line of JSON and standard output nothing."""
    ended = acsid("find", "nobody", "--json")

    [line] = ended.errors.splitlines()
    assert json.loads(line)["error"]["code"] == "user_not_found"
