"""`acsid import`: every record once, an exact report, and no damage when it is killed."""

import json
import os
import resource
import signal
import stat
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Outcome, Run, command
from tests.cli.service import Answer, Service, identity, problem
from tests.support.waiting import wait_until

JOURNAL, REPORT = "ids.csv.acsid-import.jsonl", "ids.csv.acsid-import-report.jsonl"
# The app asks for a longer wait than acsid's patience, so the command ends at once.
CLOSED = problem(503, "registry_unavailable", retry_after=3600)


def write(folder: Path, count: int, name: str = "ids.csv") -> Path:
    """Writes a file with so many identities, every second one with a user."""
    rows = [f"{identity(n)},{f'user-{n}' if n % 2 else ''}\n" for n in range(count)]
    path = folder / name
    path.write_text("id,userId\n" + "".join(rows))
    return path


def append(path: Path, text: str) -> None:
    """Appends to a file."""
    with path.open("a") as file:
        file.write(text)


def names(folder: Path) -> list[str]:
    """Returns the names of the files in a folder."""
    return sorted(path.name for path in folder.iterdir())


def results(path: Path) -> list[dict[str, Any]]:
    """Returns the results in a journal or a report."""
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


def mode(path: Path) -> int:
    """Returns the permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def do_import(acsid: Run, *options: str) -> Outcome:
    """Imports ids.csv."""
    return acsid("import", "ids.csv", "--yes", "--json", "--rate", "1000", *options)


def test_every_record_is_registered(acsid: Run, service: Service, tmp_path: Path) -> None:
    """Each record is sent once, 100 in a request, and the report has each result."""
    write(tmp_path, 250)
    ended = do_import(acsid)

    assert ended.code == 0, ended.errors
    assert ended.json()["results"] == {"registered": 250}
    assert service.imported() == [identity(n) for n in range(250)]
    assert [len(each.body["identities"]) for each in service.received] == [100, 100, 50]
    assert [each["line"] for each in results(tmp_path / REPORT)] == list(range(2, 252))
    assert {each.get("userId") for each in service.identities.values()} >= {"user-1", None}


def test_what_the_file_means_is_shown_first(acsid: Run, service: Service, tmp_path: Path) -> None:
    """Before the question, people see the columns, the first records, and the numbers."""
    write(tmp_path, 250)
    ended = acsid("import", "ids.csv")

    assert ended.code == 6
    assert "Reading ids from id, users from userId." in ended.errors
    assert f"line 3: {identity(1)} for the user user-1" in ended.errors
    assert f"Register 250 identities, 125 of them with a user, at {service.url}?" in ended.errors
    assert service.received == []
    assert names(tmp_path) == ["ids.csv"]


def test_a_dry_run_sends_nothing(acsid: Run, service: Service, tmp_path: Path) -> None:
    """`--dry-run` checks the file and leaves nothing behind."""
    write(tmp_path, 3)
    ended = do_import(acsid, "--dry-run")

    assert (ended.code, ended.json()["records"]) == (0, 3)
    assert service.received == []
    assert names(tmp_path) == ["ids.csv"]


def test_bad_rows_stop_everything(acsid: Run, service: Service, tmp_path: Path) -> None:
    """Bad rows are reported with their lines before anything is sent: exit code 2."""
    append(write(tmp_path, 3), "x,alice\n")
    ended = do_import(acsid)

    assert ended.code == 2
    assert ended.error()["rows"] == [
        {"line": 5, "problem": "the id must look like 8:acs:<GUID>_<GUID>"}
    ]
    assert service.received == []


def test_bad_rows_can_be_left_out(acsid: Run, service: Service, tmp_path: Path) -> None:
    """`--skip-bad` sends the good rows, and ends with exit code 1."""
    append(write(tmp_path, 3), "x,alice\n")
    ended = do_import(acsid, "--skip-bad")

    assert ended.code == 1
    assert (ended.json()["results"], ended.json()["badRows"]) == ({"registered": 3}, 1)


def test_bad_rows_that_were_left_out_are_counted(
    acsid: Run, service: Service, tmp_path: Path
) -> None:
    """20 are shown, and all are counted: the report has none of them."""
    append(write(tmp_path, 1), "x,alice\n" * 25)
    ended = acsid("import", "ids.csv", "--yes", "--skip-bad")

    assert ended.errors.count("Left out: line") == 20
    assert "5 more" in ended.errors
    assert "25 bad rows were left out." in ended.errors


def test_importing_again_changes_nothing(acsid: Run, service: Service, tmp_path: Path) -> None:
    """A finished import can be repeated."""
    write(tmp_path, 150)
    do_import(acsid)
    before = dict(service.identities)
    again = do_import(acsid)

    assert (again.code, again.json()["results"]) == (0, {"unchanged": 150})
    assert service.identities == before


@pytest.mark.parametrize("name", ["all.csv", "all.jsonl"])
def test_an_export_can_be_imported_without_effect(
    acsid: Run, service: Service, tmp_path: Path, name: str
) -> None:
    """Of an export, active identities are unchanged, and all others are left out."""
    for n, state in enumerate(["active", "deleted", "purging", "unknown", "active"]):
        service.add(n, f"=user-{n}", state)
    before = json.dumps(service.identities)
    acsid("export", name)
    ended = acsid("import", name, "--yes", "--json")

    assert ended.code == 0, ended.errors
    assert ended.json()["results"] == {"unchanged": 2}
    assert ended.json()["skipped"] == {"deleted": 1, "purging": 1, "unknown": 1}
    assert json.dumps(service.identities) == before


def test_a_refused_record_is_reported(acsid: Run, service: Service, tmp_path: Path) -> None:
    """A record that the app refuses does not stop the others: exit code 1."""
    write(tmp_path, 3)
    service.unknown.add(identity(1))
    ended = do_import(acsid)

    assert ended.code == 1
    assert ended.json()["results"] == {"registered": 2, "identity_not_found": 1}
    [refused] = [each for each in results(tmp_path / REPORT) if each["result"] != "registered"]
    assert (refused["line"], refused["id"]) == (3, identity(1))
    assert refused["detail"] == "ACS has no such identity."


@pytest.mark.parametrize(
    "result", ["not_attempted", "throttled", "identity_busy", "acs_unavailable", "acs_too_slow"]
)
def test_a_record_that_was_not_finished_is_sent_again(
    acsid: Run, service: Service, tmp_path: Path, result: str
) -> None:
    """A result that says nothing about the record is not one: the record is sent again."""
    write(tmp_path, 3)
    service.results[identity(0)] = [result]
    ended = do_import(acsid)

    assert (ended.code, ended.json()["results"]) == (0, {"registered": 3})
    assert Counter(service.imported()) == {identity(0): 2, identity(1): 1, identity(2): 1}


def test_records_that_were_not_reached_come_first(
    acsid: Run, service: Service, tmp_path: Path
) -> None:
    """The order of the file is kept when the app reaches only a part of a request."""
    write(tmp_path, 150)
    service.results = {identity(n): ["not_attempted"] for n in range(50, 100)}
    do_import(acsid)

    assert service.imported()[100:200] == [identity(n) for n in range(50, 150)]


def test_a_lost_answer(acsid: Run, service: Service, tmp_path: Path) -> None:
    """If the answer to a request is lost, the request is repeated, and finds its own effect."""
    write(tmp_path, 150)
    service.answers.append(Answer(drops=True, acts=True))
    ended = do_import(acsid)

    assert ended.json()["results"] == {"registered": 50, "unchanged": 100}


def test_a_wait_is_explained(acsid: Run, service: Service, tmp_path: Path) -> None:
    """Without a terminal, each reason to wait is one line."""
    write(tmp_path, 3)
    service.answers.extend([problem(503, "overloaded", detail="Full.", retry_after=0)] * 3)
    ended = acsid("import", "ids.csv", "--yes", "--rate", "1000")

    assert ended.errors.count("Waiting: Overloaded: Full.") == 1


@pytest.mark.parametrize(
    "wrong", [[{"id": identity(n), "result": "registered"} for n in (1, 0)], ["x", "y"], "xy"]
)
def test_results_of_other_records(
    acsid: Run, service: Service, tmp_path: Path, wrong: object
) -> None:
    """Results that do not match the records are not written down."""
    write(tmp_path, 2)
    service.answers.append(Answer(200, {"results": wrong}))
    ended = do_import(acsid)

    assert ended.code == 1
    assert ended.error()["code"] == "not_the_app"
    assert results(tmp_path / JOURNAL) == []


def test_an_interrupted_import_continues(acsid: Run, service: Service, tmp_path: Path) -> None:
    """Run again, the command sends only what has no result, and reports everything."""
    write(tmp_path, 250)
    service.answers.extend([None, CLOSED])
    first = do_import(acsid)
    service.received.clear()
    second = do_import(acsid)

    assert (first.code, first.json()["left"]) == (4, 150)
    assert "Run the same command again" in first.error()["hint"]
    assert service.imported() == [identity(n) for n in range(100, 250)]
    assert (second.code, second.json()["results"]) == (0, {"registered": 250})
    assert sorted(each["n"] for each in results(tmp_path / REPORT)) == list(range(250))
    assert not (tmp_path / JOURNAL).exists()


def interrupted(acsid: Run, service: Service, folder: Path) -> Path:
    """Returns the journal of an import of 250 records that has done 100."""
    write(folder, 250)
    service.answers.extend([None, CLOSED])
    do_import(acsid)
    return folder / JOURNAL


@pytest.mark.parametrize("torn", ['{"n": 100, "li', '{"n": 100}', "\0\0\0"])
def test_a_line_that_was_not_finished(
    acsid: Run, service: Service, tmp_path: Path, torn: str
) -> None:
    """A torn last line does not count, and what is appended does not join it."""
    journal = interrupted(acsid, service, tmp_path)
    append(journal, torn)
    ended = do_import(acsid)

    assert ended.json()["results"] == {"registered": 250}
    assert len(results(tmp_path / REPORT)) == 250


def test_a_first_line_that_was_not_finished(acsid: Run, service: Service, tmp_path: Path) -> None:
    """A journal that was killed while its first line was written starts again."""
    write(tmp_path, 3)
    (tmp_path / JOURNAL).write_text('{"acsid": 1, "wo')

    assert do_import(acsid).json()["results"] == {"registered": 3}


@pytest.mark.parametrize("damage", ['{"n": 5000, "result": "x"}\n', "x\n", '{"n": 1}\n'])
def test_a_damaged_journal(acsid: Run, service: Service, tmp_path: Path, damage: str) -> None:
    """A journal that makes no sense is refused: nothing is sent."""
    append(interrupted(acsid, service, tmp_path), damage)
    service.received.clear()
    ended = do_import(acsid)

    assert (ended.code, ended.error()["code"]) == (2, "journal_damaged")
    assert service.received == []


def test_another_content(acsid: Run, service: Service, tmp_path: Path) -> None:
    """The journal belongs to the content of the file."""
    interrupted(acsid, service, tmp_path)
    write(tmp_path, 251)
    service.received.clear()
    ended = do_import(acsid)

    assert (ended.code, ended.error()["code"]) == (2, "other_run")
    assert service.received == []


def test_other_options(acsid: Run, service: Service, tmp_path: Path) -> None:
    """The journal belongs to the records, which options can change."""
    interrupted(acsid, service, tmp_path)

    assert do_import(acsid, "--no-users").error()["code"] == "other_run"


def test_another_app(
    acsid: Run, service: Service, tmp_path: Path, variables: dict[str, str]
) -> None:
    """The journal belongs to the address."""
    interrupted(acsid, service, tmp_path)
    variables["ACSID_URL"] = service.url.replace("127.0.0.1", "localhost")

    assert do_import(acsid).error()["code"] == "other_run"


def test_only_the_operator_can_read_the_files(acsid: Run, service: Service, tmp_path: Path) -> None:
    """Journal and report have mode 0600, whatever the umask, also if they were there before."""
    before = os.umask(0)
    journal = interrupted(acsid, service, tmp_path)
    first = mode(journal)
    journal.chmod(0o644)
    do_import(acsid)
    os.umask(before)

    assert (first, mode(tmp_path / REPORT)) == (0o600, 0o600)


def test_a_link_is_not_followed(acsid: Run, service: Service, tmp_path: Path) -> None:
    """Nobody can direct the journal to another file."""
    write(tmp_path, 3)
    (tmp_path / "precious").write_text("")
    (tmp_path / JOURNAL).symlink_to("precious")
    ended = do_import(acsid)

    assert ended.code == 2
    assert (tmp_path / "precious").read_text() == ""
    assert service.received == []


def test_a_report_that_cannot_be_written(acsid: Run, service: Service, tmp_path: Path) -> None:
    """A folder with the name of the report is noticed before anything is sent: exit code 2."""
    write(tmp_path, 3)
    (tmp_path / REPORT).mkdir()
    ended = do_import(acsid)

    assert ended.code == 2
    assert f"{REPORT} is a folder" in ended.error()["message"]
    assert service.received == []


@pytest.mark.parametrize("arguments", [["import", "ids.csv"], ["delete", "--file", "ids.csv"]])
def test_a_full_disk(
    service: Service, tmp_path: Path, variables: dict[str, str], arguments: list[str]
) -> None:
    """The command stops with exit code 7. With space on the disk, it continues where it stopped."""
    write(tmp_path, 250)
    for number in range(250):
        service.add(number, f"user-{number}" if number % 2 else None)

    def run(limit: int) -> tuple[int, str]:
        ended = subprocess.run(  # noqa: S603 -- our own module
            [*command(*arguments), "--yes", "--rate", "1000"],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
            # A file that may not grow fails as one on a full disk does.
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )
        return ended.returncode, ended.stderr

    code, errors = run(20_000)
    again, _ = run(1_000_000)

    assert code == 7
    assert "cannot be read or written" in errors
    assert "Run the same command again" in errors
    assert "Traceback" not in errors
    [report] = tmp_path.glob("*-report.jsonl")
    assert again == 0
    assert sorted(each["n"] for each in results(report)) == list(range(250))


def started(variables: dict[str, str], folder: Path) -> subprocess.Popen[bytes]:
    """Starts an import as a process of its own."""
    return subprocess.Popen(  # noqa: S603 -- our own module
        command("import", "ids.csv", "--yes", "--rate", "1000"),
        cwd=folder,
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("kills", [5])
def test_a_killed_import_continues(
    acsid: Run, service: Service, tmp_path: Path, variables: dict[str, str], kills: int
) -> None:
    """Killed five times, the import has every record once in the end, and an exact report."""
    write(tmp_path, 2000)
    service.delay = 0.02

    def has_sent(number: int) -> Callable[[], bool]:
        return lambda: len(service.received) >= number

    for _ in range(kills):
        before = len(service.received)
        with started(variables, tmp_path) as process:
            wait_until(has_sent(before + 2))
            process.send_signal(signal.SIGKILL)
    ended = do_import(acsid)

    report = results(tmp_path / REPORT)
    assert ended.code == 0, ended.errors
    assert [each["n"] for each in report] == list(range(2000))
    assert sum(ended.json()["results"].values()) == 2000
    assert Counter(each["result"] for each in report) == ended.json()["results"]
    # Only what was on its way can have been sent before.
    assert len(service.imported()) <= 2000 + kills * 100
    assert len(service.identities) == 2000


def test_two_imports_at_once(
    acsid: Run, service: Service, tmp_path: Path, variables: dict[str, str]
) -> None:
    """A second import of the same file is refused while the first one runs."""
    write(tmp_path, 2000)
    service.delay = 0.05
    with started(variables, tmp_path) as process:
        wait_until(lambda: len(service.received) > 0)
        ended = do_import(acsid)
        process.kill()

    assert ended.code == 2
    assert "is in use" in ended.error()["message"]


@pytest.mark.parametrize(
    "arguments", [["import", "ids.csv", "--yes"], ["list", "--limit", "0"], ["export", "all.csv"]]
)
def test_ctrl_c(
    service: Service, tmp_path: Path, variables: dict[str, str], arguments: list[str]
) -> None:
    """Ctrl-C ends a command with exit code 130 and without a traceback."""
    write(tmp_path, 2000)
    for number in range(50):
        service.add(number, f"user-{number}" if number % 2 else None)
    service.page, service.delay = 1, 0.05
    with subprocess.Popen(  # noqa: S603 -- our own module
        command(*arguments),
        cwd=tmp_path,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(lambda: len(service.received) > 1)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)

    assert process.returncode == 130, errors
    assert "Stopped." in errors
    assert "Traceback" not in errors
    is_import = arguments[0] == "import"
    assert ("not done yet" in output) == is_import
    assert ("Run the same command again" in errors) == is_import
    assert not list(tmp_path.glob("all*"))
