"""Facts about the child processes of a local Azure."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE

import pytest

from local import children
from local.azurite import UNTIL_STDIN_CLOSES
from local.children import Children, born
from tests.support.stack import PATIENCE
from tests.support.waiting import wait_until

# It ignores that its standard input closes.
SLEEP = ("sleep", "600")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that only a signal ends."""
    with subprocess.Popen(SLEEP) as process:  # noqa: S603 -- a fixed program
        yield process
        process.kill()


async def test_what_an_earlier_run_has_left_is_ended(tmp_path: Path) -> None:
    """A later run in the folder finds the process in the record."""
    left = await Children(tmp_path / "processes").start(*SLEEP)

    ended = Children(tmp_path / "processes").end_leftovers()

    assert ended == 1
    assert await left.wait() == -9


def test_a_process_with_a_reused_id_is_left_alone(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    """The record has the id, but another birth."""
    (tmp_path / "processes").write_text(f"{sleeper.pid} {born(1)}\n")

    ended = Children(tmp_path / "processes").end_leftovers()

    assert ended == 0
    assert sleeper.poll() is None


@pytest.mark.parametrize("damaged", [b"", b"\xff\n", b"1\nx y\n-1 z\n\n", b"99999999999 1 2\n"])
def test_a_damaged_record_ends_nothing(tmp_path: Path, damaged: bytes) -> None:
    """A line that does not name a process is skipped."""
    (tmp_path / "processes").write_bytes(damaged)

    assert Children(tmp_path / "processes").end_leftovers() == 0


async def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """It ends soon after the grace period, and is not in the record any more."""
    running = Children(tmp_path / "processes")
    script = "trap '' TERM; echo ready; while :; do sleep 1; done"
    child = await running.start("sh", "-c", script, stdout=PIPE)
    assert child.stdout
    assert await child.stdout.readline() == b"ready\n"

    await running.stop(child)

    assert child.returncode == -9
    assert (tmp_path / "processes").read_text() == ""


@pytest.mark.parametrize("ask", [born, children._born_in_ps], ids=["default", "ps"])
def test_a_birth_identifies_a_process(
    sleeper: subprocess.Popen[bytes], ask: Callable[[int], str | None]
) -> None:
    """It stays the same, processes of other times have another, and a zombie has none."""
    first, again, other = ask(sleeper.pid), ask(sleeper.pid), ask(1)
    sleeper.kill()

    assert first == again != other
    assert other is not None
    wait_until(lambda: ask(sleeper.pid) is None)


def test_node_ends_with_its_standard_input() -> None:
    """This holds even while it is busy."""
    script = "setTimeout(() => { console.log('busy'); for (;;); }, 200)"
    call = ["node", "--require", str(UNTIL_STDIN_CLOSES), "--eval", script]
    with subprocess.Popen(call, stdin=PIPE, stdout=PIPE) as node:  # noqa: S603 -- our own script
        assert node.stdin
        assert node.stdout
        assert node.stdout.readline() == b"busy\n"

        node.stdin.close()

        assert node.wait(PATIENCE) == -9
