"""Files of identities: what is read, what is refused with its line, and what is written."""

import csv
import io
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from acsid.exports import CsvWriter, GraphMapWriter, JsonLinesWriter
from acsid.failures import Failure
from acsid.records import (
    IdentityRecord,
    Options,
    Reader,
    Summary,
    checked_user,
)
from hypothesis import given
from hypothesis import strategies as st

from identity_service.errors import ServiceError
from identity_service.http.decoding import decode_body
from identity_service.schemas import CreateIdentityRequest
from tests.cli.service import identity

ONE, TWO, THREE = identity(1), identity(2), identity(3)
TENANT = "33333333-3333-3333-3333-333333333333"
OBJECT = "44444444-4444-4444-4444-44444444aaaa"


def read(
    folder: Path, content: str | bytes, name: str = "file.csv", **options: Any
) -> tuple[list[IdentityRecord], Summary]:
    """Returns the good records of a file with this content."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with Reader(path, Options(**options)) as reader:
        return list(reader.records()), reader.summary


def pairs(folder: Path, content: str | bytes, **options: Any) -> list[tuple[str, str | None]]:
    """Returns the id and the user of each good record; there must be no bad row."""
    records, summary = read(folder, content, **options)
    assert summary.bad == []
    return [(record.id, record.user) for record in records]


def problems(folder: Path, content: str | bytes, name: str = "file.csv") -> list[tuple[int, str]]:
    """Returns the line and the problem of each bad row."""
    _, summary = read(folder, content, name)
    return [(row.line, row.problem) for row in summary.bad]


@pytest.mark.parametrize(
    "content",
    [
        f"id,userId\n{ONE},alice\n{TWO},\n",
        f"id,userId\r\n{ONE},alice\r\n{TWO},\r\n",
        f"\ufeffid,userId\n{ONE},alice\n{TWO},",
        f'"id","userId"\n"{ONE}","alice"\n"{TWO}",""\n',
        f"userId,other,id\nalice,x,{ONE}\n,y,{TWO}\n",
        f"id;userId\n{ONE};alice\n{TWO};\n",
        f"id\tuserId\n{ONE}\talice\n{TWO}\t\n",
        f"id,userId\n\n{ONE},alice\n\n{TWO},\n\n",
        f"\n \nid;userId\n{ONE};alice\n{TWO};\n",
        f"ID, User_Id\n{ONE} ,alice\n {TWO},\n",
        f'id,note,userId\n{ONE},"a ""quoted""\nnote",alice\n{TWO},,\n',
    ],
    ids=[
        "plain",
        "CRLF",
        "byte order mark",
        "quoted",
        "other columns",
        "semicolons",
        "tabs",
        "blank lines",
        "blank lines before the header",
        "spelling and spaces",
        "newline in a value",
    ],
)
def test_csv(tmp_path: Path, content: str) -> None:
    """CSV is read as spreadsheets and databases write it."""
    assert pairs(tmp_path, content) == [(ONE, "alice"), (TWO, None)]


@pytest.mark.parametrize(
    "content",
    [
        f'{{"id":"{ONE}","userId":"alice"}}\n{{"id":"{TWO}"}}\n',
        f'\ufeff{{"id":"{ONE}","userId":"alice"}}\r\n\r\n{{"id":"{TWO}","userId":null}}',
        f'{{"userId":"alice","x":[1],"id":"{ONE}"}}\n{{"id":"{TWO}","userId":""}}\n',
    ],
    ids=["plain", "byte order mark", "other fields"],
)
@pytest.mark.parametrize("name", ["file.jsonl", "file.ndjson", "file.txt"])
def test_json_lines(tmp_path: Path, content: str, name: str) -> None:
    """JSON Lines are recognised by the name of the file, or by their first character."""
    assert pairs(tmp_path, content, name=name) == [(ONE, "alice"), (TWO, None)]


@pytest.mark.parametrize(
    "header",
    [
        "CommunicationServicesId,userId",
        "communicationServicesId,customId",
        "CommunicationServicesId,Id",
        "acs_user_id,user_id",
        "communicationUserId,userId",
    ],
)
def test_the_columns_of_microsofts_pages(tmp_path: Path, header: str) -> None:
    """The recommended column is the id, even in a table of users with an `Id` of its own."""
    assert pairs(tmp_path, f"{header}\n{ONE},alice\n") == [(ONE, "alice")]


def test_chosen_columns(tmp_path: Path) -> None:
    """Options name the columns of any other table."""
    content = f"user,acs,id\nalice,{ONE},7\n"

    assert pairs(tmp_path, content, id_column="acs", user_column="user") == [(ONE, "alice")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is empty"),
        ("\ufeff", "is empty"),
        ("\n\r\n \n", "is empty"),
        (f"id,userId\r{ONE},alice\r", "line 1: .* a line ends with CR only"),
        (f"id,userId\n{ONE},ali\rce\n", "line 2: .* a line ends with CR only"),
        (f"id,state\n{ONE},active\n", "no column of users"),
        ("name,userId\nx,alice\n", "no column with the ids"),
        (f"{ONE},alice\n", "no column with the ids"),
        (f"id,id\n{ONE},x\n", "two columns named id"),
        (f"id,name\n{ONE},alice\n", "no column of users"),
        (f'[{{"id": "{ONE}"}}]', "one JSON array"),
        ("id,userId\n".encode("utf-16"), "UTF-16"),
        (f'id,userId\n{ONE},"alice\n{TWO},bob\n', "line 2: this is not valid CSV"),
        (f'id,userId\n{ONE},"al"ice\n', "line 2: this is not valid CSV"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: str | bytes, reason: str) -> None:
    """A file without usable columns is refused as a whole."""
    with pytest.raises(Failure, match=reason):
        read(tmp_path, content)


def test_json_lines_whose_users_are_unknown(tmp_path: Path) -> None:
    """Users are never left out silently: JSON Lines with other fields are refused, too."""
    with pytest.raises(Failure, match="no column of users"):
        read(tmp_path, f'{{"id":"{ONE}","name":"alice"}}\n', "file.jsonl")


def test_a_file_of_ids_only(tmp_path: Path) -> None:
    """If the ids are all that a file has, it is clear that no users are meant."""
    assert pairs(tmp_path, f"id\n{ONE}\n") == [(ONE, None)]


def test_lines_are_counted_from_the_start_of_the_file(tmp_path: Path) -> None:
    """Blank lines before the header count."""
    assert problems(tmp_path, "\n\nid,userId\nx,alice\n")[0][0] == 4


def test_a_file_in_another_encoding(tmp_path: Path) -> None:
    """If user ids are not UTF-8, the message says how to save the file."""
    path = tmp_path / "file.csv"
    path.write_bytes(b"id,userId\n%s,Zo\xeb\n" % ONE.encode())
    with Reader(path, Options()) as reader, pytest.raises(Failure) as failure:
        reader.check()

    assert failure.value.message.endswith("has 1 bad row.")
    assert "Save the file in UTF-8" in failure.value.hint


def test_no_users(tmp_path: Path) -> None:
    """`--no-users` registers the identities of any table without users."""
    assert pairs(tmp_path, f"id,name\n{ONE},alice\n", no_users=True) == [(ONE, None)]


def test_an_empty_export_can_be_read(tmp_path: Path) -> None:
    """A file with a header only, or an empty JSON Lines file, has no records."""
    assert pairs(tmp_path, "id,userId\n") == []
    assert pairs(tmp_path, "", name="file.jsonl") == []


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (",alice", "the id is missing"),
        ("8:acs:x,alice", "the id must look like 8:acs:<GUID>_<GUID>"),
        (f"{ONE.upper()},alice", "the id must be in lower case"),
        (f"{ONE}", "it has 1 value, but the header has 2"),
        (f"{ONE},alice,x", "it has 3 values, but the header has 2"),
        (
            f"{ONE}, alice",
            "the user is empty, or begins or ends with white space or an invisible mark",
        ),
        (f"{ONE},a\tb", "the user has control characters"),
        (f"{ONE},{'x' * 257}", "the user has 257 characters: 256 are the most"),
        (f"{ONE},{TWO}", "the user is the id of an identity, not of a user"),
    ],
)
def test_a_bad_row_is_reported_with_its_line(tmp_path: Path, row: str, problem: str) -> None:
    """A bad row has the number of the line on which it begins."""
    content = f'id,userId\n{THREE},"a\nb"\n\n{row}\n'
    found = problems(tmp_path, content)

    assert found[0] == (2, "the user has control characters")
    assert found[1:] == [(5, problem)]


def test_bytes_that_are_not_utf_8(tmp_path: Path) -> None:
    """A user id in another encoding is a bad row; a column that is not read does not matter."""
    content = b"id,name,userId\n%s,Zo\xeb,zoe\n%s,x,Zo\xeb\n" % (ONE.encode(), TWO.encode())

    assert problems(tmp_path, content) == [(3, "the user is not UTF-8")]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nonsense", "this is not a JSON object"),
        ("[1]", "this is not a JSON object"),
        ('{"id":', "this is not a JSON object"),
        ('{"userId":"alice"}', "there is no id"),
        ('{"id":5}', "id and user must be texts"),
        (f'{{"id":"{ONE}","userId":42}}', "id and user must be texts"),
        (f'{{"id":"{ONE}","userId":"\\ud800"}}', "the user is not UTF-8"),
    ],
)
def test_a_bad_line_of_json(tmp_path: Path, line: str, problem: str) -> None:
    """Each line of JSON Lines is checked as a row is."""
    content = f'{{"id":"{TWO}","userId":"bob"}}\n{line}\n'

    assert problems(tmp_path, content, "file.jsonl") == [(2, problem)]


def test_a_repeated_row_counts_once(tmp_path: Path) -> None:
    """The same record again is no error, and is not sent twice."""
    records, summary = read(tmp_path, f"id,userId\n{ONE},alice\n{TWO},\n{ONE},alice\n{TWO},\n")

    assert [record.id for record in records] == [ONE, TWO]
    assert (summary.count, summary.duplicates, summary.bad) == (2, 2, [])


def test_rows_that_contradict_each_other(tmp_path: Path) -> None:
    """One identity has one user, and one user one identity: the later row is bad."""
    content = f"id,userId\n{ONE},alice\n{ONE},bob\n{TWO},alice\n{TWO},carol\n"

    assert problems(tmp_path, content) == [
        (3, "line 2 has the same id for another user"),
        (4, "line 2 has the same user for another id"),
    ]


def test_only_the_first_bad_rows_are_listed(tmp_path: Path) -> None:
    """People see the first 20 bad rows and how many more there are. JSON has all of them."""
    path = tmp_path / "file.csv"
    path.write_text("id,userId\n" + "x,\n" * 100)
    with Reader(path, Options()) as reader, pytest.raises(Failure) as failure:
        reader.check()

    assert "100 bad rows" in failure.value.message
    assert len(failure.value.lines) == 21
    assert failure.value.lines[-1] == "… and 80 more: --json lists them all."
    assert failure.value.problem
    assert len(failure.value.problem["rows"]) == 100


def test_states_that_cannot_be_registered_are_left_out(tmp_path: Path) -> None:
    """Of an export, only active identities are registered. Another `state` is a column of yours."""
    states = ["active", "deleted", "purging", "creating", "registering", "unknown", "suspended"]
    rows = "".join(f"{identity(n)},,{state}\n" for n, state in enumerate([*states, "Texas", ""]))
    records, summary = read(tmp_path, f"id,userId,state\n{rows}")

    assert [record.id for record in records] == [identity(0), identity(7), identity(8)]
    assert summary.skipped == dict.fromkeys(states[1:], 1)


def test_exported_user_ids_of_an_earlier_release_are_left_out(tmp_path: Path) -> None:
    """An export can have user ids that can no longer be written. They do not stop the import."""
    records, summary = read(tmp_path, f"id,userId,state\n{ONE}, alice,active\n{TWO},bob,active\n")

    assert [record.id for record in records] == [TWO]
    assert summary.skipped == {"a user id of an earlier release": 1}


def test_states_do_not_matter_to_a_deletion(tmp_path: Path) -> None:
    """To delete or restore, only the ids are read: the states may be old."""
    content = f"id,userId,state\n{ONE},bad\tuser,deleted\n"

    assert pairs(tmp_path, content, with_users=False) == [(ONE, None)]


@pytest.mark.parametrize("header", ["id,userId", "acs_user_id,entra_object_id", "id,objectId"])
def test_entra_object_ids(tmp_path: Path, header: str) -> None:
    """With a tenant, object ids become the user ids of the `me` operations, in lower case."""
    content = f"{header}\n{ONE},{OBJECT.upper()}\n{TWO},\n"

    assert pairs(tmp_path, content, tenant=TENANT) == [
        (ONE, f"aad/{TENANT}/{OBJECT}"),
        (TWO, None),
    ]


@pytest.mark.parametrize("user", ["alice", f"{{{OBJECT}}}", f"aad/{TENANT}/{OBJECT}", OBJECT[1:]])
def test_what_is_no_object_id(tmp_path: Path, user: str) -> None:
    """With a tenant, any other text is a bad row."""
    _, summary = read(tmp_path, f"id,userId\n{ONE},{user}\n", tenant=TENANT)

    assert [row.problem for row in summary.bad] == [
        "the user is not an Entra object id: it must be a GUID"
    ]


EXPORTED = [
    {"id": ONE, "userId": "alice", "state": "active", "createdOn": "2030-01-01T00:00:00Z"},
    {"id": TWO, "state": "active", "knownOn": "2030-01-01T00:00:00Z"},
    {"id": THREE, "userId": f"aad/{TENANT}/{OBJECT}", "state": "active"},
]


def test_csv_export() -> None:
    """CSV has one column for each field."""
    file = io.StringIO()
    CsvWriter(file).write(EXPORTED)

    assert file.getvalue().splitlines() == [
        "id,userId,state,createdOn,knownOn,suspendedOn,deletedBy",
        f"{ONE},alice,active,2030-01-01T00:00:00Z,,,",
        f"{TWO},,active,,2030-01-01T00:00:00Z,,",
        f"{THREE},aad/{TENANT}/{OBJECT},active,,,,",
    ]


def test_json_lines_export() -> None:
    """JSON Lines have everything that the app says, and always a `userId`."""
    file = io.StringIO()
    JsonLinesWriter(file).write(EXPORTED)

    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    assert lines == [{"userId": None, **item} for item in EXPORTED]


def test_graph_map() -> None:
    """The map has the Entra user of each identity that has one."""
    file = io.StringIO()
    GraphMapWriter(file).write(EXPORTED)

    assert file.getvalue().splitlines() == [
        "acs_user_id,entra_object_id,target_tenant_id,status,decision_owner",
        f"{ONE},,,unresolved,",
        f"{TWO},,,unresolved,",
        f"{THREE},{OBJECT},{TENANT},mapped,",
    ]


def test_a_graph_map_can_be_read(tmp_path: Path) -> None:
    """A map has the tenants itself. Identities without an Entra user are left out."""
    file = io.StringIO()
    GraphMapWriter(file).write(EXPORTED)
    records, summary = read(tmp_path, file.getvalue())

    assert [(each.id, each.user) for each in records] == [(THREE, f"aad/{TENANT}/{OBJECT}")]
    assert summary.skipped == {"no Entra user": 2}


@pytest.mark.parametrize("user", ["=1+1", "+4912345", "-x", "@SUM(A1)", "\uff1d1", "'=1", "''+1"])
def test_no_cell_is_a_formula(tmp_path: Path, user: str) -> None:
    """A spreadsheet takes no user id for a formula, and reading gives the exact user id back."""
    file = io.StringIO()
    CsvWriter(file).write([{"id": ONE, "userId": user, "state": "active"}])
    [_, row] = csv.reader(io.StringIO(file.getvalue()))

    assert row[1] == f"'{user}"
    assert pairs(tmp_path, file.getvalue()) == [(ONE, user)]


@pytest.mark.parametrize("user", ["'quoted'", "a=b", "x+y@example.com"])
def test_other_user_ids_are_written_as_they_are(user: str) -> None:
    """Only a user id that a spreadsheet would change gets an apostrophe."""
    file = io.StringIO()
    CsvWriter(file).write([{"id": ONE, "userId": user, "state": "active"}])

    assert file.getvalue().splitlines()[1] == f"{ONE},{user},active,,,,"


VALID_USERS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)


@given(user=VALID_USERS)
def test_every_user_id_survives(user: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any user id that is written as CSV or JSON Lines is read back unchanged."""
    folder = tmp_path_factory.mktemp("file")
    for name, writer in (("f.csv", CsvWriter), ("f.jsonl", JsonLinesWriter)):
        file = io.StringIO()
        writer(file).write([{"id": ONE, "userId": user, "state": "active"}])

        assert pairs(folder, file.getvalue(), name=name) == [(ONE, user)]


# What the rules are about, and letters that a careless comparison takes for others.
PIECES = st.sampled_from(
    [
        *("8:acs:", "8:ACS:", "%3A", "%253a", "8", "acs", "gcch-", ":", '"', "'", "<", " ", "a"),
        *("\n", "\x00", "\x85", "\u200e", "\u202e", "\u2060", "\ufeff", "\u00a0", "\u0131"),
        *("\u017f", "\u212a"),
    ]
)


@given(user=st.lists(PIECES, max_size=6).map("".join) | st.text(min_size=250, max_size=260))
def test_the_app_and_acsid_accept_the_same_user_ids(user: str) -> None:
    """A user id that acsid accepts is accepted by the app, and the other way round."""
    body = json.dumps({"userId": user}).encode()
    with_acsid, with_the_app = (
        accepts(lambda: checked_user(user)),
        accepts(lambda: decode_body(body, CreateIdentityRequest)),
    )

    assert with_acsid == with_the_app


def accepts(check: Callable[[], object]) -> bool:
    """Whether a check passes."""
    try:
        check()
    except (Failure, ServiceError):
        return False
    return True


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    """An import must be able to read the file again, so a pipe is refused."""
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(Failure, match="regular file"):
        Reader(tmp_path / "pipe", Options())


def test_reading_needs_little_memory(tmp_path: Path) -> None:
    """100,000 records of 180 bytes need less than 60 MB, most of it to notice repeated ones."""
    path = tmp_path / "file.csv"
    with path.open("w") as file:
        file.write("id,userId\n")
        file.writelines(f"{identity(n)},user-{n}{'x' * 80}\n" for n in range(100_000))
    tracemalloc.start()
    with Reader(path, Options()) as reader:
        reader.check()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert reader.summary.count == 100_000
    assert peak < 60_000_000
