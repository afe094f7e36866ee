"""`acsid teams`: who has Teams Phone access, from files and to files, against a small server."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from acsid.access_records import checked_end
from hypothesis import given
from hypothesis import strategies as st

from identity_service.errors import ServiceError
from identity_service.schemas import future, parsed_instant
from tests.cli.conftest import Run
from tests.cli.service import Answer, Service, problem
from tests.support.waiting import wait_until

TENANT = "99999999-8888-7777-6666-555555555555"
CLIENT, OTHER_CLIENT = (f"{digit * 8}-3333-4444-5555-666666666666" for digit in "23")
COMMANDS = ("assign", "remove", "import", "export", "list", "soon", "check")
HEADER = "tenantId,objectId,principalType,clientIds,expiresOn"
END = "2030-01-01T12:00:00Z"


def user(number: int) -> str:
    """The object id of a user."""
    return f"{number:08x}-1111-1111-1111-111111111111"


def who(number: int) -> str:
    """What the commands call the user."""
    return f"{TENANT}/{user(number)}"


def has_access(service: Service, number: int, **body: Any) -> str:
    """Gives a user access. Returns what the commands call them."""
    service.give(who(number), **{"principalType": "user", "clientIds": [CLIENT], **body})
    return who(number)


def write(folder: Path, *rows: str, header: str = HEADER) -> None:
    """Writes a file of users."""
    (folder / "users.csv").write_text("\n".join([header, *rows, ""]))


def results(folder: Path, name: str) -> list[tuple[str, str]]:
    """The results in the report of a command."""
    lines = (folder / f"users.csv.acsid-teams-{name}-report.jsonl").read_text().splitlines()[1:]
    return [(one["id"], one["result"]) for one in map(json.loads, lines)]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_a_help(acsid: Run, command: str) -> None:
    """Each command explains itself, and can print JSON."""
    shown = acsid("teams", command, "--help")

    assert (shown.code, shown.errors) == (0, "")
    assert "--json" in shown.output


def test_the_help_lists_every_command(acsid: Run) -> None:
    """The help of `acsid teams` has these commands and no other."""
    listed = acsid("teams", "--help").output.partition("Commands:\n")[2].splitlines()

    assert {line.split()[0] for line in listed if line.strip()} == set(COMMANDS)


# assign


def test_a_file_is_assigned(acsid: Run, service: Service, tmp_path: Path) -> None:
    """Each row becomes one request, with everything that the file says."""
    has_access(service, 2, expiresOn=END)
    write(
        tmp_path,
        f"{TENANT.upper()},{user(10).upper()},,{CLIENT} {OTHER_CLIENT.upper()},{END}",
        f"{TENANT},{user(2)},user,{CLIENT},",
        f"{TENANT},{user(3)},teamsResourceAccount,,",
    )

    ended = acsid("teams", "assign", "users.csv", "--yes", "--json")

    assert ended.code == 0, ended.errors
    assert ended.json()["results"] == {"assigned": 2, "replaced": 1}
    sent = {each.path: each.body for each in service.received if each.method == "PUT"}
    assert sent == {
        f"/api/teams/access/{who(10)}": {
            "principalType": "user",
            "clientIds": [CLIENT, OTHER_CLIENT],
            "expiresOn": END,
        },
        f"/api/teams/access/{who(2)}": {"principalType": "user", "clientIds": [CLIENT]},
        f"/api/teams/access/{who(3)}": {"principalType": "teamsResourceAccount", "clientIds": []},
    }


def test_a_list_of_object_ids_is_assigned(acsid: Run, service: Service, tmp_path: Path) -> None:
    """Tenant and application can be arguments, as for the map of a migration to Teams."""
    header = "acs_user_id,entra_object_id,target_tenant_id,status,decision_owner"
    write(tmp_path, f"8:acs:x,{user(1)},,mapped,", "8:acs:y,,,unresolved,", header=header)

    arguments = ("--tenant", TENANT, "--client", CLIENT, "--client", OTHER_CLIENT, "--yes")
    ended = acsid("teams", "assign", "users.csv", *arguments)

    assert ended.code == 0, ended.errors
    assert service.access[who(1)]["clientIds"] == [CLIENT, OTHER_CLIENT]
    assert "1 row is left out: no objectId." in ended.errors
    assert "Ignored: acs_user_id, decision_owner, status." in ended.errors


def test_json_lines_are_assigned(acsid: Run, service: Service, tmp_path: Path) -> None:
    """A line is an object as the app returns it."""
    line = {"tenantId": TENANT, "objectId": user(1), "principalType": "user", "clientIds": [CLIENT]}
    (tmp_path / "users.jsonl").write_text(json.dumps(line) + "\n")

    assert acsid("teams", "assign", "users.jsonl", "--yes").code == 0
    assert service.access[who(1)]["clientIds"] == [CLIENT]


def test_what_will_happen_is_shown_first(acsid: Run, service: Service, tmp_path: Path) -> None:
    """Without --yes, people see the columns, the first records and the number."""
    write(tmp_path, f"{TENANT},{user(1)},user,{CLIENT},{END}")

    ended = acsid("teams", "assign", "users.csv")

    assert ended.code == 6
    columns = "tenantId, objectId, principalType, clientIds, expiresOn"
    assert f"Reading {columns}.\n" in ended.errors
    assert f"line 2: user {who(1)} with {CLIENT} until {END}" in ended.errors
    assert f"Give access to 1 user or resource account at {service.url}?" in ended.errors
    assert service.received == []


@pytest.mark.parametrize("command", ["remove", "import"])
def test_a_type_that_is_not_read_is_not_shown(
    acsid: Run, service: Service, tmp_path: Path, command: str
) -> None:
    """A resource account is not called a user."""
    write(tmp_path, f"{TENANT},{user(1)},resourceAccount,,")

    ended = acsid("teams", command, "users.csv", "--dry-run")

    assert f"line 2: {who(1)}\n" in ended.errors


@pytest.mark.parametrize("command", ["assign", "remove", "import"])
def test_a_dry_run_sends_nothing(
    acsid: Run, service: Service, tmp_path: Path, command: str
) -> None:
    """`--dry-run` checks the file and leaves nothing behind."""
    write(tmp_path, f"{TENANT},{user(1)},user,{CLIENT},")

    ended = acsid("teams", command, "users.csv", "--dry-run", "--json")

    assert (ended.code, ended.json()["records"]) == (0, 1)
    assert service.received == []
    assert [path.name for path in tmp_path.iterdir()] == ["users.csv"]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (f",{user(1)},user,{CLIENT},", "there is no tenantId: --tenant names"),
        (f"contoso.com,{user(1)},user,{CLIENT},", "tenantId must be a GUID"),
        (f"{TENANT},alice,user,{CLIENT},", "objectId must be a GUID"),
        (f"{TENANT},{user(1)},group,{CLIENT},", "principalType must be one of user, resource"),
        (f"{TENANT},{user(1)},user,,", "there are no clientIds: --client names"),
        (f"{TENANT},{user(1)},user,my-app,", "clientIds must be GUIDs"),
        (f"{TENANT},{user(1)},user,{CLIENT} {CLIENT},", "clientIds has the same GUID twice"),
        (f"{TENANT},{user(1)},user,{CLIENT},31.12.2030", "expiresOn must have a date, a time"),
        (f"{TENANT},{user(1)},user,{CLIENT},2030-12-31T00:00:00", "expiresOn must have a date"),
        (f"{TENANT},{user(1)},user,{CLIENT},2030-02-30T00:00:00Z", "expiresOn must have a date"),
        (f"{TENANT},{user(1)},user,{CLIENT},2030-12-31T23:59:60Z", "expiresOn must have a date"),
        (f"{TENANT},{user(1)},user,{CLIENT},2020-01-01T00:00:00Z", "expiresOn has passed"),
        (f"{TENANT},{user(1)},user,{CLIENT},9999-12-31T23:59:59Z", "expiresOn is after 9998"),
        (f"{TENANT},{user(9)},user,{OTHER_CLIENT},", "line 2 has other values for the same"),
    ],
)
def test_bad_rows_stop_everything(
    acsid: Run, service: Service, tmp_path: Path, row: str, problem: str
) -> None:
    """A bad row is reported with its line before anything is sent: exit code 2."""
    write(tmp_path, f"{TENANT},{user(9)},user,{CLIENT},", row)

    ended = acsid("teams", "assign", "users.csv", "--yes", "--json")

    assert ended.code == 2
    [bad] = ended.error()["rows"]
    assert bad["line"] == 3
    assert bad["problem"].startswith(problem)
    assert service.received == []


def test_an_end_that_has_passed_is_not_imported(
    acsid: Run, service: Service, tmp_path: Path
) -> None:
    """An import of access checks the end as well: exit code 2."""
    write(
        tmp_path, f"{TENANT},{user(1)},2020-01-01T00:00:00Z", header="tenantId,objectId,expiresOn"
    )

    ended = acsid("teams", "import", "users.csv", "--dry-run", "--json")

    assert (ended.code, ended.error()["rows"][0]["line"]) == (2, 2)


# The parts of a time, valid and not, with the edges of what the app accepts.
INSTANTS = st.tuples(
    st.sampled_from(
        ["2030-01-01", "2028-02-29", "2030-02-29", "9998-12-31", "9999-01-01", "0000-01-01"]
    )
    | st.dates().map(str),
    st.sampled_from(["T", "t", " ", "_", ""]),
    st.sampled_from(
        ["00:00:00", "23:59:59", "23:59:60", "24:00:00", "12:60:00", "1:00:00", "12:00"]
    ),
    st.sampled_from(["", ".5", ".123456", ".1234567", ".999999", ".", ",5"]),
    st.sampled_from(["Z", "z", "", "+00:00", "-00:00", "+23:59", "-23:59", "+24:00", "+05:60"])
    | st.sampled_from(["+0530", "+05", "-14:00", "+05:30:10", " Z", "\n", "\u0663"]),
).map("".join)


@given(text=INSTANTS)
def test_the_app_and_acsid_accept_the_same_ends(text: str) -> None:
    """An end that acsid accepts is accepted by the app, and the other way round."""
    now = datetime.now(UTC)
    with_acsid, with_the_app = (
        accepts(lambda: checked_end(text, now)),
        accepts(lambda: future(parsed_instant(text), now)),
    )

    assert with_acsid == with_the_app


def accepts(check: Callable[[], object]) -> bool:
    """Whether a check passes."""
    try:
        check()
    except (ValueError, ServiceError):
        return False
    return True


@pytest.mark.parametrize("clients", [7, {"id": CLIENT}, [[CLIENT]]])
def test_client_ids_that_are_no_list_of_ids(acsid: Run, tmp_path: Path, clients: object) -> None:
    """In JSON Lines, such a row is bad like any other."""
    line = {"tenantId": TENANT, "objectId": user(1), "clientIds": clients}
    (tmp_path / "users.jsonl").write_text(json.dumps(line) + "\n")

    ended = acsid("teams", "assign", "users.jsonl", "--yes", "--json")

    assert ended.code == 2
    assert ended.error()["rows"] == [{"line": 1, "problem": "clientIds must be GUIDs"}]


def test_bad_rows_can_be_left_out(acsid: Run, service: Service, tmp_path: Path) -> None:
    """`--skip-bad` sends the good rows, and ends with exit code 1. The same row counts once."""
    good = f"{TENANT},{user(1)},user,{CLIENT},"
    write(tmp_path, good, good, f"{TENANT},alice,user,{CLIENT},")

    ended = acsid("teams", "assign", "users.csv", "--yes", "--json", "--skip-bad")

    assert ended.code == 1
    shown = ended.json()
    assert (shown["results"], shown["badRows"], shown["duplicates"]) == ({"assigned": 1}, 1, 1)


def test_a_file_without_users(acsid: Run, tmp_path: Path) -> None:
    """The message has the columns that are there, and those that are needed."""
    write(tmp_path, "alice,x", header="name,mail")

    ended = acsid("teams", "assign", "users.csv", "--yes")

    assert ended.code == 2
    assert "has no column objectId: it has name, mail." in ended.errors


@pytest.mark.parametrize("option", [("--tenant", "contoso.com"), ("--client", "my-app")])
def test_an_argument_that_is_no_guid(acsid: Run, tmp_path: Path, option: tuple[str, str]) -> None:
    """It is named before anything is sent."""
    write(tmp_path, f"{TENANT},{user(1)},user,{CLIENT},")

    ended = acsid("teams", "assign", "users.csv", "--yes", *option)

    assert ended.code == 2
    assert f"{option[0]} {option[1]} is not an id: it must be a GUID." in ended.errors


def test_a_refused_record(acsid: Run, service: Service, tmp_path: Path) -> None:
    """The others are assigned. The report has the reason, and the exit code is 1."""
    write(tmp_path, *(f"{TENANT},{user(n)},user,{CLIENT},{END}" for n in range(3)))
    service.answers.append(problem(422, "assignment_refused", detail="No such object."))

    ended = acsid("teams", "assign", "users.csv", "--yes", "--json")

    assert ended.code == 1
    assert ended.json()["results"] == {"assigned": 2, "assignment_refused": 1}
    assert sorted(result for _, result in results(tmp_path, "assign")) == [
        "assigned",
        "assigned",
        "assignment_refused",
    ]


def test_an_interrupted_run_is_continued(acsid: Run, service: Service, tmp_path: Path) -> None:
    """What has a result is not sent again, and the report has every record once."""
    write(tmp_path, *(f"{TENANT},{user(n)},user,{CLIENT}," for n in range(12)))
    service.answers.extend([None] * 5)
    service.answers.extend([problem(503, "registry_unavailable", retry_after=3600)] * 8)
    first = acsid("teams", "assign", "users.csv", "--yes", "--json")
    service.answers.clear()
    done = len(service.access)
    before = len(service.received)

    second = acsid("teams", "assign", "users.csv", "--yes", "--json")

    assert first.code == 4
    assert second.code == 0, second.errors
    assert len(service.received) - before == 12 - done < 12
    assert sorted(one for one, _ in results(tmp_path, "assign")) == [who(n) for n in range(12)]


def test_an_end_that_passes_meanwhile_does_not_stop_a_continued_run(
    acsid: Run, service: Service, tmp_path: Path
) -> None:
    """A row was checked when the run began. It stays good, and what is left is sent."""
    soon = datetime.now(UTC) + timedelta(seconds=2)
    end = f"{soon:%Y-%m-%dT%H:%M:%S.%fZ}"
    write(tmp_path, *(f"{TENANT},{user(n)},user,{CLIENT},{end}" for n in range(12)))
    service.answers.extend([None] * 5)
    service.answers.extend([problem(503, "registry_unavailable", retry_after=3600)] * 8)
    first = acsid("teams", "assign", "users.csv", "--yes", "--json")
    service.answers.clear()
    wait_until(lambda: datetime.now(UTC) > soon)

    second = acsid("teams", "assign", "users.csv", "--yes", "--json")
    begun_anew = acsid("teams", "assign", "users.csv", "--yes", "--json")

    assert (first.code, 0 < first.json()["left"] < 12) == (4, True)
    assert (second.code, second.json()["results"]) == (0, {"assigned": 12})
    assert (begun_anew.code, len(begun_anew.error()["rows"])) == (2, 12)


def test_other_arguments_are_another_run(acsid: Run, service: Service, tmp_path: Path) -> None:
    """A run that was interrupted is not continued with another application."""
    write(tmp_path, f"{user(1)}", f"{user(2)}", header="objectId")
    fixed = ("teams", "assign", "users.csv", "--yes", "--json", "--tenant", TENANT)
    service.answers.extend([None, problem(503, "registry_unavailable", retry_after=3600)])
    acsid(*fixed, "--client", CLIENT)

    ended = acsid(*fixed, "--client", OTHER_CLIENT)

    assert (ended.code, ended.error()["code"]) == (2, "other_run")


# remove


def test_one_is_removed(acsid: Run, service: Service) -> None:
    """Without a file: the two ids of one, in any case."""
    has_access(service, 10)

    ended = acsid("teams", "remove", who(10).upper(), "--yes", "--json")

    assert ended.code == 0, ended.errors
    assert ended.json() == {"tenantId": TENANT, "objectId": user(10), "result": "removed"}
    assert service.held == {}


def test_removing_one_asks(acsid: Run, service: Service) -> None:
    """Without --yes and a terminal nothing is done; with --dry-run nothing either."""
    has_access(service, 1)

    assert acsid("teams", "remove", who(1)).code == 6
    assert acsid("teams", "remove", who(1), "--dry-run").code == 0
    assert service.received == []


def test_a_file_is_removed(acsid: Run, service: Service, tmp_path: Path) -> None:
    """Each of a file loses access, whatever else the file says."""
    for number in (1, 2):
        has_access(service, number)
    write(
        tmp_path,
        f"{TENANT},{user(1)},removed,nonsense",
        f"{TENANT},{user(2)},assigned,",
        header="tenantId,objectId,state,expiresOn",
    )

    ended = acsid("teams", "remove", "users.csv", "--yes", "--json")

    assert ended.code == 0, ended.errors
    assert ended.json()["results"] == {"removed": 2}
    assert service.held == {}


# import


def test_assignments_are_imported(acsid: Run, service: Service, tmp_path: Path) -> None:
    """100 in a request, with the end that the file gives them."""
    for number in range(150):
        service.held[who(number)] = {"principalType": "user", "clientIds": [CLIENT]}
    rows = [f"{TENANT},{user(number)},{END}" for number in range(151)]
    write(tmp_path, *rows, header="tenantId,objectId,expiresOn")

    ended = acsid("teams", "import", "users.csv", "--yes", "--json", "--rate", "1000")

    assert ended.code == 1
    assert ended.json()["results"] == {"imported": 150, "teams_access_not_found": 1}
    assert [len(each.body["access"]) for each in service.received] == [100, 51]
    assert {item["expiresOn"] for item in service.access.values()} == {END}


def test_records_that_were_not_reached_are_sent_again(
    acsid: Run, service: Service, tmp_path: Path
) -> None:
    """A result that says nothing about the record is not final."""
    service.held[who(1)] = {"principalType": "user", "clientIds": [CLIENT]}
    service.results[who(1)] = ["not_attempted", "identity_busy"]
    write(tmp_path, f"{TENANT},{user(1)}", header="tenantId,objectId")

    ended = acsid("teams", "import", "users.csv", "--yes", "--json", "--rate", "1000")

    assert ended.json()["results"] == {"imported": 1}
    assert len(service.received) == 3


# export


@pytest.mark.parametrize("name", ["all.csv", "all.jsonl"])
def test_an_export_can_be_assigned_again(
    acsid: Run, service: Service, tmp_path: Path, name: str
) -> None:
    """It has everything in every state. Assigning it leaves out what was removed."""
    has_access(service, 1, clientIds=[CLIENT, OTHER_CLIENT], expiresOn=END)
    has_access(service, 2, principalType="resourceAccount", clientIds=[])
    has_access(service, 3, state="removed")
    before = {one: dict(item) for one, item in service.access.items()}

    exported = acsid("teams", "export", name, "--json")
    again = acsid("teams", "assign", name, "--yes", "--json")

    assert exported.json()["states"] == {"assigned": 2, "removed": 1}
    assert again.code == 0, again.errors
    assert again.json()["results"] == {"replaced": 2}
    assert again.json()["skipped"] == {"removed": 1}
    assert service.access == before
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_the_columns_of_an_export(acsid: Run, service: Service, tmp_path: Path) -> None:
    """Several client ids are in one column, with spaces between them."""
    has_access(service, 1, clientIds=[CLIENT, OTHER_CLIENT])
    acsid("teams", "export", "all.csv")

    assert (tmp_path / "all.csv").read_text().splitlines() == [
        "tenantId,objectId,principalType,clientIds,expiresOn,state,createdOn,changedOn",
        f"{TENANT},{user(1)},user,{CLIENT} {OTHER_CLIENT},,assigned,2030-01-01T00:00:00Z,",
    ]


# list, soon, check


def test_the_list(acsid: Run, service: Service) -> None:
    """It has who has access, or those of one tenant, or access in one state."""
    has_access(service, 1)
    has_access(service, 2, state="removed")

    def listed(*options: str) -> list[str]:
        lines = acsid("teams", "list", "--json", *options).lines()
        return [one["objectId"] for one in lines]

    assert listed() == [user(1)]
    assert listed("--state", "removed") == [user(2)]
    assert listed("--tenant", TENANT, "--state", "any") == [user(1), user(2)]
    assert listed("--tenant", CLIENT) == []


def test_a_tenant_that_is_no_guid_is_not_sent(acsid: Run, service: Service) -> None:
    """It is named before anything is sent: exit code 2."""
    ended = acsid("teams", "list", "--tenant", "contoso.com")

    assert (ended.code, service.received) == (2, [])
    assert "--tenant contoso.com is not an id" in ended.errors


def test_what_ends_soon(acsid: Run, service: Service) -> None:
    """Those whose access ends in the next days, the first end first. The others are left out."""
    now = datetime.now(UTC)
    for number, days in enumerate((13, 40, 2), 1):
        has_access(service, number, expiresOn=f"{now + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}")
    has_access(service, 4)

    def ending(*options: str) -> list[str]:
        return [one["objectId"] for one in acsid("teams", "soon", "--json", *options).lines()]

    assert ending() == [user(3), user(1)]
    assert ending("--days", "3") == [user(3)]
    assert ending("--days", "99999999") == [user(3), user(1), user(2)]


def test_everything_agrees(acsid: Run, service: Service) -> None:
    """Each access is compared, and the exit code is 0."""
    for number in range(3):
        has_access(service, number)

    ended = acsid("teams", "check")

    assert (ended.code, ended.output) == (0, "")
    assert "Compared 3: 0 differ." in ended.errors


def test_other_name_of_a_resource_account_is_no_difference(acsid: Run, service: Service) -> None:
    """Only the clients differ: ACS may return the other name of a resource account."""
    has_access(service, 0, principalType="teamsResourceAccount")
    service.held[who(0)] = {"principalType": "resourceAccount", "clientIds": [OTHER_CLIENT]}

    ended = acsid("teams", "check", "--json")

    assert [one["difference"] for one in ended.lines()] == [f"ACS has the clients {OTHER_CLIENT}"]


def test_a_script_gets_only_differences(acsid: Run, service: Service) -> None:
    """If everything agrees, `teams check --json` prints nothing, as an empty list does."""
    has_access(service, 1)
    ended = acsid("teams", "check", "--json")

    assert (ended.code, ended.output, ended.errors) == (0, "", "")


def test_differences(acsid: Run, service: Service) -> None:
    """Each difference is listed with what ACS has, and the exit code is 1."""
    for number in range(4):
        has_access(service, number)
    del service.held[who(1)]
    service.held[who(2)] = {"principalType": "user", "clientIds": [OTHER_CLIENT]}
    service.held[who(3)] = {"principalType": "resourceAccount", "clientIds": []}

    ended = acsid("teams", "check", "--json")

    assert ended.code == 1
    assert {one["objectId"]: one["difference"] for one in ended.lines()} == {
        user(1): "ACS has no assignment",
        user(2): f"ACS has the clients {OTHER_CLIENT}",
        user(3): "ACS has the type resourceAccount",
    }
    assert ended.error()["code"] == "different"


def test_one_is_checked(acsid: Run, service: Service) -> None:
    """Only this one is compared. Somebody without access is not found: exit code 3."""
    has_access(service, 1)

    assert acsid("teams", "check", who(1)).code == 0
    assert acsid("teams", "check", who(2)).code == 3
    assert acsid("teams", "check", "alice").code == 2
    assert service.calls("GET") == [f"/api/teams/access/{who(n)}" for n in (1, 2)]


def test_something_else_answers_during_the_check(acsid: Run, service: Service) -> None:
    """A 404 that is not the app's own says nothing about the access."""
    has_access(service, 1)
    service.answers.extend([None, Answer(404)])

    ended = acsid("teams", "check", "--json")

    assert (ended.code, ended.error()["code"]) == (1, "http_404")


def test_removed_during_the_check(acsid: Run, service: Service) -> None:
    """It is left out: nothing is known about it that could differ."""
    has_access(service, 1)
    service.answers.extend([None, problem(404, "teams_access_not_found", detail="Gone.")])

    ended = acsid("teams", "check")

    assert ended.code == 0
    assert "Compared 0: 0 differ." in ended.errors
