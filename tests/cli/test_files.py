"""`acsid export`, and the commands that change each identity in a file."""

import json
import stat
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from acsid.exports import WRITERS, Format, write_export

from tests.cli.conftest import Run
from tests.cli.service import Answer, Service, identity, problem

STATES = [
    "active",
    "suspended",
    "deleted",
    "purging",
    "creating",
    "registering",
    "unknown",
    "frozen",
]
CLOSED = problem(503, "registry_unavailable", retry_after=3600)


def write(folder: Path, count: int) -> Path:
    """Writes a file with so many ids."""
    path = folder / "ids.csv"
    path.write_text("id\n" + "".join(f"{identity(n)}\n" for n in range(count)))
    return path


def add(service: Service, count: int, state: str = "active") -> None:
    """Adds so many identities."""
    for number in range(count):
        service.add(number, f"user-{number}", state)


def test_an_export_has_every_state(acsid: Run, service: Service, tmp_path: Path) -> None:
    """Every identity is in the export, whatever its state, of all pages."""
    service.page = 3
    for number, state in enumerate(STATES):
        service.add(number, None, state)
    ended = acsid("export", "all.jsonl", "--json")

    items = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [item["state"] for item in items] == STATES
    assert ended.json() == {
        "file": "all.jsonl",
        "total": len(STATES),
        "states": dict.fromkeys(STATES, 1),
    }


@pytest.mark.parametrize("kind", ["csv", "jsonl", "graph-map"])
def test_only_the_operator_can_read_an_export(
    acsid: Run, service: Service, tmp_path: Path, kind: str
) -> None:
    """An export has mode 0600, also if it replaces a file that others could read."""
    add(service, 1)
    (tmp_path / "all").write_text("")
    (tmp_path / "all").chmod(0o644)
    acsid("export", "all", "--format", kind, "--yes")

    assert stat.S_IMODE((tmp_path / "all").stat().st_mode) == 0o600


def test_one_is_not_called_many(acsid: Run, service: Service, tmp_path: Path) -> None:
    """Numbers have the words that belong to them."""
    add(service, 1)
    header, row = "id,userId,state", f"{identity(0)},user-0,active"
    (tmp_path / "ids.csv").write_text("\n".join([header, row, row, "x,y,active", f"{row}x,"]))
    exported = acsid("export", "all.csv").output
    refused = acsid("import", "ids.csv").errors
    (tmp_path / "ids.csv").write_text("\n".join([header, row, row, f"{identity(1)},,deleted"]))
    imported = acsid("import", "ids.csv", "--dry-run")

    assert "Wrote 1 identity to all.csv" in exported
    assert "has 2 bad rows" in refused
    assert "1 row repeats an earlier one" in imported.errors
    assert "1 row is left out: deleted." in imported.errors
    assert "Register 1 identity, 1 of them with a user" in imported.output


def test_a_file_is_not_replaced_without_a_yes(acsid: Run, service: Service, tmp_path: Path) -> None:
    """An existing file is kept unless the operator agrees."""
    (tmp_path / "all.csv").write_text("precious")
    ended = acsid("export", "all.csv")

    assert ended.code == 6
    assert (tmp_path / "all.csv").read_text() == "precious"


def test_an_export_is_complete_or_not_there(acsid: Run, service: Service, tmp_path: Path) -> None:
    """If the app fails in the middle, an earlier file stays, and no part is left."""
    service.page = 10
    add(service, 30)
    (tmp_path / "all.csv").write_text("earlier")
    service.answers.extend([None, CLOSED])
    ended = acsid("export", "all.csv", "--yes")

    assert ended.code == 4
    assert (tmp_path / "all.csv").read_text() == "earlier"
    assert [path.name for path in tmp_path.iterdir()] == ["all.csv"]


@pytest.mark.parametrize("command", [["export"], ["teams", "export"]])
@pytest.mark.parametrize("target", [".", "/dev/null", "missing/all.csv", "-"])
def test_where_no_file_can_be(
    acsid: Run, service: Service, tmp_path: Path, command: list[str], target: str
) -> None:
    """An export writes a regular file, or nothing: exit code 2, without a question or a request."""
    ended = acsid(*command, target)

    assert ended.code == 2
    assert service.received == []
    assert list(tmp_path.iterdir()) == []
    assert not Path("/dev/null").is_file()


def test_standard_output_is_no_file(acsid: Run) -> None:
    """The message of `export -` says what prints everything instead."""
    assert "list --state any --json" in acsid("export", "-").errors


def test_an_export_replaces_no_link(acsid: Run, service: Service, tmp_path: Path) -> None:
    """A link such as /dev/stdout is kept."""
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "link").symlink_to("precious")
    ended = acsid("export", "link", "--yes")

    assert ended.code == 2
    assert (tmp_path / "link").is_symlink()


def many_pages() -> Iterator[list[dict[str, Any]]]:
    """The 200 pages of a registry with 200,000 identities."""
    for page in range(200):
        yield [
            {"id": identity(page * 1000 + n), "state": "active", "userId": f"user-{n}"}
            for n in range(1000)
        ]


@pytest.mark.parametrize("kind", list(Format))
def test_an_export_needs_memory_for_a_page(tmp_path: Path, kind: Format) -> None:
    """However many identities there are, the export holds a few pages."""
    tracemalloc.start()
    counts = write_export(many_pages(), tmp_path / "all", WRITERS[kind], lambda _: None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert counts.total() == 200_000
    assert peak < 5_000_000


@pytest.mark.parametrize(
    ("command", "result", "after"),
    [
        (["suspend"], "suspended", "suspended"),
        (["resume"], "resumed", "active"),
        (["delete"], "deleted", "deleted"),
        (["restore", "--deleted-by", "any"], "restored", "active"),
    ],
)
def test_every_identity_in_a_file(  # noqa: PLR0913, PLR0917 -- the command, and what it does
    acsid: Run, service: Service, tmp_path: Path, command: list[str], result: str, after: str
) -> None:
    """With --file, a command changes each identity in the file once."""
    add(service, 30, "before")
    write(tmp_path, 20)
    ended = acsid(*command, "--file", "ids.csv", "--yes", "--json", "--rate", "1000")

    assert ended.code == 0, ended.errors
    assert ended.json()["results"] == {result: 20}
    states = [item["state"] for item in service.identities.values()]
    assert states == [after] * 20 + ["before"] * 10
    report = tmp_path / f"ids.csv.acsid-{command[0]}-report.jsonl"
    assert len(report.read_text().splitlines()) == 21
    assert stat.S_IMODE(report.stat().st_mode) == 0o600


@pytest.mark.parametrize("count", [6, 150], ids=["one by one", "from the list"])
def test_what_will_be_deleted_is_shown_first(
    acsid: Run, service: Service, tmp_path: Path, count: int
) -> None:
    """Before the question, the operator sees in which states the identities are now."""
    add(service, count - 1)
    service.identities[identity(0)]["state"] = "deleted"
    write(tmp_path, count)
    ended = acsid("delete", "--file", "ids.csv", "--rate", "1000")

    assert ended.code == 6
    assert f"  {count - 2} active\n  1 deleted\n  1 not in the registry\n" in ended.errors
    assert f"Delete {count} identities at {service.url}?" in ended.errors
    assert service.calls("DELETE") == []
    assert [path.name for path in tmp_path.iterdir()] == ["ids.csv"]


def test_a_dry_run_of_a_file(acsid: Run, service: Service, tmp_path: Path) -> None:
    """`--dry-run` reads the states and changes nothing."""
    add(service, 2)
    write(tmp_path, 2)
    ended = acsid("delete", "--file", "ids.csv", "--dry-run", "--json")

    assert ended.json()["states"] == {"active": 2}
    assert service.calls("DELETE") == []
    assert [path.name for path in tmp_path.iterdir()] == ["ids.csv"]


def test_identities_that_are_not_there(acsid: Run, service: Service, tmp_path: Path) -> None:
    """An identity that cannot be deleted does not stop the others: exit code 1."""
    add(service, 2)
    write(tmp_path, 3)
    ended = acsid("delete", "--file", "ids.csv", "--yes", "--json")

    assert ended.code == 1
    assert ended.json()["results"] == {"deleted": 2, "identity_not_found": 1}


def test_an_interrupted_deletion_continues(acsid: Run, service: Service, tmp_path: Path) -> None:
    """Run again, the command deletes what it has not deleted yet."""
    add(service, 20)
    write(tmp_path, 20)
    # The previews read the states: 20 requests each.
    service.answers.extend([None] * 30 + [CLOSED] * 4)
    options = ("--file", "ids.csv", "--yes", "--json", "--rate", "1000")
    first = acsid("delete", *options)
    # The requests that the failure has stopped did not take theirs.
    service.answers.clear()
    second = acsid("delete", *options)

    assert first.code == 4
    assert 0 < first.json()["left"] < 20
    assert second.json()["results"] == {"deleted": 20}
    refused = 4
    assert len(service.calls("DELETE")) <= 20 + refused
    assert {item["state"] for item in service.identities.values()} == {"deleted"}


def test_an_identity_of_another_resource(acsid: Run, service: Service, tmp_path: Path) -> None:
    """If ACS says that it is not the resource of an identity, the others are changed even so."""
    add(service, 2)
    write(tmp_path, 2)
    service.answers.extend([None, None, problem(503, "wrong_resource", retry_after=1)])
    ended = acsid("suspend", "--file", "ids.csv", "--yes", "--json")

    assert ended.code == 1
    assert ended.json()["results"] == {"suspended": 1, "wrong_resource": 1}


def add_deleted(service: Service, count: int = 2) -> None:
    """Adds as many that a service has deleted as users have deleted themselves."""
    for number in range(count):
        actor = "user" if number % 2 else "service"
        service.add(number, f"user-{number}", "deleted", actor)


@pytest.mark.parametrize(
    ("options", "restored", "left_out"),
    [
        ([], [0], {"deleted_by_user": 1}),
        (["--deleted-by", "service"], [0], {"deleted_by_user": 1}),
        (["--deleted-by", "user"], [1], {"deleted_by_service": 1}),
        (["--deleted-by", "any"], [0, 1], {}),
    ],
    ids=["default", "service", "user", "any"],
)
def test_who_is_restored(  # noqa: PLR0913, PLR0917 -- the options, and what they do
    acsid: Run,
    service: Service,
    tmp_path: Path,
    options: list[str],
    restored: list[int],
    left_out: dict[str, int],
) -> None:
    """People who have deleted themselves come back only if the operator says so."""
    add_deleted(service)
    write(tmp_path, 2)
    ended = acsid("restore", "--file", "ids.csv", "--yes", "--json", *options)

    assert ended.code == 0, ended.errors
    assert ended.json()["results"] == {"restored": len(restored)} | left_out
    active = [n for n in range(2) if service.identities[identity(n)]["state"] == "active"]
    assert active == restored


@pytest.mark.parametrize("count", [10, 150], ids=["one by one", "from the list"])
def test_what_will_be_restored_is_shown_first(
    acsid: Run, service: Service, tmp_path: Path, count: int
) -> None:
    """Before the question, the operator sees how many, by whom they were deleted, and the first."""
    add_deleted(service, count)
    write(tmp_path, count)
    ended = acsid("restore", "--file", "ids.csv", "--rate", "1000")

    half = count // 2
    assert ended.code == 6
    assert f"  {half} deleted by a service\n  {half} deleted by a user\n" in ended.errors
    shown = [line for line in ended.errors.splitlines() if line.startswith("  to restore: ")]
    since = "deleted by a service on 2030-01-02T00:00:00Z"
    assert shown == [f"  to restore: {identity(n)}, {since}" for n in (0, 2, 4)]
    text = f"Restore {half} identities, and leave out {half} that users have deleted"
    assert text in " ".join(ended.errors.split())
    assert service.calls("POST") == []


def test_what_is_not_deleted_does_not_count(acsid: Run, service: Service, tmp_path: Path) -> None:
    """The number of identities that would be restored has only those that are deleted."""
    add_deleted(service)
    service.add(2, "user-2")
    write(tmp_path, 3)
    ended = acsid("restore", "--file", "ids.csv", "--dry-run")

    assert "Restore 1 identity, and leave out 1 that users have deleted" in ended.output


def test_somebody_who_deletes_themselves_meanwhile(
    acsid: Run, service: Service, tmp_path: Path
) -> None:
    """Each is looked up again at the last moment: the operator's yes was for an earlier state."""
    add_deleted(service, 1)
    write(tmp_path, 1)
    # Since the operator was asked, it was restored, and deleted by its user.
    now = {**service.identities[identity(0)], "deletedBy": "user"}
    service.answers.extend([None, None, Answer(200, now)])
    ended = acsid("restore", "--file", "ids.csv", "--yes", "--json")

    assert ended.json()["results"] == {"deleted_by_user": 1}
    assert service.calls("POST") == []


@pytest.mark.parametrize("state", ["active", "suspended"])
def test_what_is_not_deleted_is_not_restored(
    acsid: Run, service: Service, tmp_path: Path, state: str
) -> None:
    """No restore is sent for it, because its user could delete it at this moment."""
    add(service, 1, state)
    write(tmp_path, 1)
    ended = acsid("restore", "--file", "ids.csv", "--yes", "--json")

    assert (ended.code, ended.json()["results"]) == (0, {"not_deleted": 1})
    assert service.calls("POST") == []


def test_what_is_not_there_is_not_restored(acsid: Run, service: Service, tmp_path: Path) -> None:
    """A purged identity is no success: exit code 1."""
    write(tmp_path, 1)
    ended = acsid("restore", "--file", "ids.csv", "--yes", "--json")

    assert (ended.code, ended.json()["results"]) == (1, {"identity_not_found": 1})
    assert service.calls("POST") == []


def test_an_app_that_does_not_say_who_deleted(acsid: Run, service: Service, tmp_path: Path) -> None:
    """Nothing is restored from an older app by default: exit code 2."""
    add(service, 2, "deleted")
    write(tmp_path, 2)
    refused = acsid("restore", "--file", "ids.csv", "--yes")
    restored = acsid("restore", "--file", "ids.csv", "--deleted-by", "any", "--yes")

    assert refused.code == 2
    assert "--deleted-by any" in refused.errors
    assert restored.code == 0
    assert len(service.calls("POST")) == 2


def test_a_run_with_another_filter_is_another_run(
    acsid: Run, service: Service, tmp_path: Path
) -> None:
    """What an interrupted run has left out is not taken for done by a run that wants it."""
    add_deleted(service)
    write(tmp_path, 2)
    # The preview needs four requests.
    service.answers.extend([None] * 4 + [CLOSED] * 2)
    interrupted = acsid("restore", "--file", "ids.csv", "--yes")
    service.answers.clear()
    other = acsid("restore", "--file", "ids.csv", "--yes", "--deleted-by", "any", "--json")

    assert interrupted.code == 4
    assert (other.code, other.error()["code"]) == (2, "other_run")


def test_one_is_restored_whoever_deleted_it(acsid: Run, service: Service) -> None:
    """The operator names this one, so no filter protects it."""
    service.add(1, state="deleted", deleted_by="user")
    restored = acsid("restore", identity(1))
    refused = acsid("restore", identity(1), "--deleted-by", "user")

    assert restored.code == 0
    assert refused.code == 2
    assert "needs --file" in refused.errors


def test_an_export_is_a_file_of_identities_to_delete(
    acsid: Run, service: Service, tmp_path: Path
) -> None:
    """An export can be deleted, and restored with the same file, in spite of its old states."""
    add(service, 3)
    acsid("export", "all.csv")
    acsid("delete", "--file", "all.csv", "--yes")
    states = {item["state"] for item in service.identities.values()}
    acsid("restore", "--file", "all.csv", "--yes")

    assert states == {"deleted"}
    assert {item["state"] for item in service.identities.values()} == {"active"}
