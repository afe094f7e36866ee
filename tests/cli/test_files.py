"""`acsid export`, and `delete` and `restore` with a file."""

import json
import stat
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from acsid.client import Client
from acsid.records import Format
from acsid.transfer import export

from tests.cli.conftest import Run
from tests.cli.service import Service, identity, problem

STATES = ["active", "deleted", "purging", "creating", "registering", "unknown", "frozen"]
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


@pytest.mark.parametrize("target", [".", "/dev/null", "missing/all.csv"])
def test_where_no_file_can_be(acsid: Run, target: str) -> None:
    """An export writes a regular file, or nothing."""
    ended = acsid("export", target, "--yes")

    assert ended.code in (1, 2)
    assert not Path("/dev/null").is_file()


def test_an_export_replaces_no_link(acsid: Run, service: Service, tmp_path: Path) -> None:
    """A link such as /dev/stdout is kept."""
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "link").symlink_to("precious")
    ended = acsid("export", "link", "--yes")

    assert ended.code == 2
    assert (tmp_path / "link").is_symlink()


class ManyPages:
    """A registry with 200,000 identities, as pages."""

    def pages(self, *_: object) -> Iterator[list[dict[str, Any]]]:
        """Returns 200 pages."""
        for page in range(200):
            yield [
                {"id": identity(page * 1000 + n), "state": "active", "userId": f"user-{n}"}
                for n in range(1000)
            ]


@pytest.mark.parametrize("kind", list(Format))
def test_an_export_needs_memory_for_a_page(tmp_path: Path, kind: Format) -> None:
    """However many identities there are, the export holds a few pages."""
    tracemalloc.start()
    counts = export(cast("Client", ManyPages()), tmp_path / "all", kind, lambda _: None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert counts.total() == 200_000
    assert peak < 5_000_000


@pytest.mark.parametrize(("name", "after"), [("delete", "deleted"), ("restore", "active")])
def test_every_identity_in_a_file(
    acsid: Run, service: Service, tmp_path: Path, name: str, after: str
) -> None:
    """`delete --file` and `restore --file` change each identity in the file once."""
    add(service, 30, "before")
    write(tmp_path, 20)
    ended = acsid(name, "--file", "ids.csv", "--yes", "--json", "--rate", "1000")

    assert ended.code == 0, ended.errors
    assert ended.json()["results"] == {f"{name}d": 20}
    states = [item["state"] for item in service.identities.values()]
    assert states == [after] * 20 + ["before"] * 10
    report = tmp_path / f"ids.csv.acsid-{name}-report.jsonl"
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
