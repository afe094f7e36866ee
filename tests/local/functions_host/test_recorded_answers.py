"""The local host responds as Microsoft's Functions host did: see recorded/README.md."""

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from tests.local.running_host import TIMEOUT, running_host

RECORDED = Path(__file__).parent / "recorded"
RECORDS = {
    f"{record['group']}: {record['name']}": record
    for record in json.loads((RECORDED / "answers.json").read_text())
}
HOST_KEY, MASTER_KEY = "recorded-host-key", "recorded-master-key"
SETTINGS = {
    "LOCAL_HOST_FUNCTION_KEY": HOST_KEY,
    "LOCAL_HOST_MASTER_KEY": MASTER_KEY,
    "AzureWebJobs.switched_off.Disabled": "true",
    "AzureWebJobs.locked_off.Disabled": "true",
}
NOT_COMPARED = {
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "server",
    "transfer-encoding",
}
# Records for which the local host responds differently, with the reason.
DIFFERENCES: dict[str, str] = {}

Answer = tuple[int, list[list[str]], Any]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a local host that serves the probe app."""
    app = tmp_path_factory.mktemp("probe")
    shutil.copytree(RECORDED / "probe", app, dirs_exist_ok=True)
    with running_host(app, SETTINGS) as host:
        yield host.port


@pytest.mark.parametrize("name", RECORDS)
def test_the_local_host_answers_like_the_real_one(name: str, port: int) -> None:
    """Status, headers and body are the same, except where DIFFERENCES gives a reason."""
    record = RECORDS[name]
    placeholders = {"PORT": str(port), "HOSTKEY": HOST_KEY, "MASTERKEY": MASTER_KEY}

    status, headers, body = exchange(port, fill(record["request"], placeholders))

    seen: Answer = (status, headers, parsed(body))
    expected: Answer = (
        record["status"],
        [[each, fill(value, placeholders)] for each, value in record["headers"]],
        # A body that cannot be compared is taken from the response.
        parsed(body if record["body"] is None else fill(record["body"], placeholders)),
    )
    if name in DIFFERENCES:
        assert seen != expected, f"{name} no longer differs: remove it from DIFFERENCES"
    else:
        assert seen == expected


def test_every_difference_names_a_record() -> None:
    """The list has no leftovers."""
    assert DIFFERENCES.keys() <= RECORDS.keys()


def fill(text: str, placeholders: dict[str, str]) -> str:
    """Replaces the placeholders."""
    for name in sorted(placeholders, key=len, reverse=True):
        text = text.replace(name, placeholders[name])
    return text


def parsed(body: str) -> Any:
    """The value of a JSON body, in which the order of fields does not count."""
    try:
        return json.loads(body)
    except ValueError:
        return body


def exchange(port: int, request: str) -> tuple[int, list[list[str]], str]:
    """Sends a request on a new connection, and reads one response.

    http.client rejects some statuses that the real host sends.
    """
    with (
        socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection,
        connection.makefile("rb") as stream,
    ):
        connection.sendall(request.encode("latin-1"))
        status, headers = read_head(stream)
        if status == 100 and "Expect: 100-continue" in request:
            status, headers = read_head(stream)
        body = b"" if request.startswith("HEAD ") else read_body(stream, dict(headers))
    kept = sorted([name, value] for name, value in headers if name not in NOT_COMPARED)
    return status, kept, body.decode("latin-1")


def read_head(stream: IO[bytes]) -> tuple[int, list[tuple[str, str]]]:
    """Reads the status and the headers."""
    status = int(stream.readline().split(b" ")[1])
    headers = []
    while line := stream.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers.append((name.lower(), value.strip()))
    return status, headers


def read_body(stream: IO[bytes], headers: dict[str, str]) -> bytes:
    """Reads a body that is chunked, has a length, or ends with the connection."""
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(stream.readline(), 16):
            body += stream.read(size)
            stream.readline()
        return body
    return stream.read(int(headers.get("content-length", -1)))
