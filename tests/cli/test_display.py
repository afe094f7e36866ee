"""What acsid prints has no effect on the terminal, whatever is in a user id."""

import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest
from acsid.display import escaped

from tests.cli.conftest import Run, command
from tests.cli.service import RESOURCE, Service, identity, problem

HOSTILE = {
    "escape sequence": "\x1b[2J\x1b]0;owned\x07",
    "markup": "[bold red]x[/] [link=http://x]y[/link]",
    "newline": "a\r\nb",
    "one-byte control": "\x9b2J",
    "delete": "\x7f\x08",
    "right to left": "\u202eabc\u2066",
    "invisible": "a\u200bb\ufeff",
    "line separator": "a\u2028b",
    "emoji code": ":warning:",
}
CTRL_C = b"\x03"
each_text = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())


def harmless(output: str) -> bool:
    """Whether the output has only characters that a terminal prints."""
    return all(each == "\n" or each.isprintable() for each in output)


@each_text
def test_a_table_shows_values_as_text(acsid: Run, service: Service, text: str) -> None:
    """A hostile user id is one harmless row of a table."""
    service.add(1, text)
    shown = acsid("list").output

    assert harmless(shown)
    assert len(shown.splitlines()) == 2
    assert escaped(text) in shown


@each_text
def test_fields_are_shown_as_text(acsid: Run, service: Service, text: str) -> None:
    """So it is where an identity is shown with one line for each field."""
    service.add(1, text)
    shown = acsid("find", identity(1)).output

    assert harmless(shown)
    assert f"userId     {escaped(text)}\n" in shown


@each_text
def test_json_is_ascii(acsid: Run, service: Service, text: str) -> None:
    """JSON has the exact value, in printable ASCII."""
    service.add(1, text)
    shown = acsid("list", "--json").output

    assert harmless(shown)
    assert shown.isascii()
    assert json.loads(shown)["userId"] == text


@each_text
def test_errors_are_shown_as_text(acsid: Run, service: Service, text: str) -> None:
    """A hostile text in a problem has no effect either."""
    service.answers.extend([problem(409, "conflict", detail=text)] * 2)
    for_people, for_scripts = (
        acsid("register", identity(1)),
        acsid("register", identity(1), "--json"),
    )

    assert harmless(for_people.errors)
    assert harmless(for_scripts.errors)
    assert for_scripts.error()["detail"] == text


def test_questions_are_shown_as_text(acsid: Run) -> None:
    """What the operator typed is escaped, too."""
    ended = acsid("find", "\x1b[2J")

    assert harmless(ended.errors)


def test_ordinary_text_is_not_changed() -> None:
    """Letters of any language are shown as they are."""
    assert escaped("Zoë 山田 مريم 😀 [x]") == "Zoë 山田 مريم 😀 [x]"


def test_a_terminal_that_knows_no_letters(service: Service, variables: dict[str, str]) -> None:
    """A terminal with ASCII only gets escapes instead of an error."""
    service.add(1, "Zoë")
    environ = {**variables, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    shown = subprocess.run(  # noqa: S603 -- our own module
        command("list"), env=environ, capture_output=True, check=True
    )

    assert rb"Zo\xeb" in shown.stdout


def on_a_terminal(arguments: list[str], variables: dict[str, str], typed: bytes) -> tuple[int, str]:
    """Runs a command on a terminal and returns its exit code and what the terminal shows."""
    main, terminal = pty.openpty()
    environ = {**variables, "TERM": "xterm", "PATH": os.environ["PATH"]}
    with subprocess.Popen(  # noqa: S603 -- our own module
        command(*arguments), stdin=terminal, stdout=terminal, stderr=terminal, env=environ
    ) as process:
        os.close(terminal)
        shown = b""
        try:
            while part := os.read(main, 1024):
                shown += part
                if b"[y/N]" not in shown:
                    continue
                if typed == CTRL_C:
                    process.send_signal(signal.SIGINT)
                else:
                    os.write(main, typed)
                break
            while part := os.read(main, 1024):
                shown += part
        except OSError:  # the end, on Linux
            pass
        code = process.wait(timeout=30)
    os.close(main)
    return code, shown.decode()


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        (b"y\n", 0),
        (b"YES\n", 0),
        (b"n\n", 6),
        (b"\n", 6),
        (b"yet\n", 6),
        (b"\x04", 6),  # Ctrl-D
        (CTRL_C, 130),
    ],
)
def test_a_question_on_a_terminal(
    service: Service, variables: dict[str, str], typed: bytes, code: int
) -> None:
    """On a terminal, the operator is asked; anything but yes does nothing.

    Ctrl-C ends the command as everywhere.
    """
    service.add(1, state="deleted")
    ended, shown = on_a_terminal(["purge", identity(1)], variables, typed)

    assert ended == code, shown
    assert "Purge for ever" in shown
    assert bool(service.received) == (code == 0)


def test_progress_on_a_terminal_only(
    service: Service, variables: dict[str, str], tmp_path: Path
) -> None:
    """Long work shows a progress bar on a terminal, and none in a pipe."""
    service.page = 10
    for number in range(30):
        service.add(number)
    _, on_terminal = on_a_terminal(["export", str(tmp_path / "a.csv")], variables, b"")
    piped = subprocess.run(  # noqa: S603 -- our own module
        command("export", tmp_path / "b.csv"),
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "Exporting" in on_terminal
    assert piped.stderr == ""


# Commands that write to standard output, the requests that each sends, and what it has done.
WRITING = {
    "help": (["--help"], 0, ""),
    "version": (["--version"], 0, ""),
    "list": (["list"], 1, ""),
    "list of a script": (["list", "--json"], 1, ""),
    "find": (["find", identity(1)], 1, ""),
    "suspend": (["suspend", identity(1), "--yes"], 1, f"Suspended {identity(1)}."),
    "suspend of a script": (["suspend", identity(1), "--yes", "--json"], 1, "Suspended 8:acs:"),
    "create": (["create"], 1, "Created 8:acs:"),
    "check": (["teams", "check"], 2, ""),
}
each_writing = pytest.mark.parametrize(
    ("arguments", "requests", "done"), WRITING.values(), ids=WRITING.keys()
)


def run_to(
    output: int, service: Service, variables: dict[str, str], arguments: list[str]
) -> tuple[int, str]:
    """Runs a command with this standard output. Returns its exit code and standard error."""
    for number in range(3000):
        service.add(number)
    access = {"principalType": "user", "clientIds": []}
    service.give(f"{RESOURCE}/{RESOURCE}", **access)
    service.held.clear()
    ended = subprocess.run(  # noqa: S603 -- our own module
        command(*arguments),
        env=variables,
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stderr


@each_writing
def test_an_output_that_cannot_be_written(
    service: Service, variables: dict[str, str], arguments: list[str], requests: int, done: str
) -> None:
    """One line says so, and what was done all the same: exit code 7."""
    with Path("/dev/full").open("w") as full:
        code, errors = run_to(full.fileno(), service, variables, arguments)

    assert (code, len(service.received)) == (7, requests)
    [line] = errors.splitlines()
    assert "Standard output cannot be written: No space left on device." in line
    assert done in line


@each_writing
def test_a_closed_pipe_is_no_error(
    service: Service, variables: dict[str, str], arguments: list[str], requests: int, done: str
) -> None:
    """With `| true`, the work ends as it would without, and nothing is said about the pipe."""
    reading, writing = os.pipe()
    os.close(reading)
    code, errors = run_to(writing, service, variables, arguments)
    os.close(writing)

    assert code == (1 if "check" in arguments else 0), done
    assert "pipe" not in errors.lower()
    assert "Traceback" not in errors
    # A list is not read to its end.
    assert len(service.received) == requests


def test_lost_messages_do_not_stop_the_work(
    service: Service, variables: dict[str, str], tmp_path: Path
) -> None:
    """What standard error does not take is dropped."""
    (tmp_path / "ids.csv").write_text(f"id\n{identity(1)}\n")
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(  # noqa: S603 -- our own module
            command("import", "ids.csv", "--yes"),
            cwd=tmp_path,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
            check=False,
        )

    assert (ended.returncode, ended.stdout) == (0, "1 registered\n")
    assert identity(1) in service.identities
