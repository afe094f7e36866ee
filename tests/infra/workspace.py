"""A Log Analytics workspace in memory: the lines that the app logs, and the queries on them."""

import atexit
import json
import logging
import subprocess
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from identity_service.ports import Clock

_RUNNER = Path(__file__).parent / "run_queries.mjs"

Rows = list[dict[str, Any]]


class Query(NamedTuple):
    """A query.

    Attributes:
        text: What it is.
        window: How far it looks back. None: to the first line.
    """

    text: str
    window: timedelta | None = None


class Workspace(logging.Handler):
    """Receives the log lines of the app, at the time of this clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._lines: list[dict[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line."""
        self.add(record.getMessage())

    def add(self, line: str, times: int = 1) -> None:
        """Keep a line that another process has logged, so many times."""
        now = self._clock.now().isoformat()
        self._lines += [{"TimeGenerated": now, "Message": line}] * times

    @property
    def lines(self) -> list[str]:
        """The lines without their times."""
        return [line["Message"] for line in self._lines]

    def query(self, text: str) -> Rows:
        """The rows that a query returns. Times are in RFC 3339."""
        return self.query_all({"": Query(text)})[""]

    def query_all(self, queries: dict[str, Query]) -> dict[str, Rows]:
        """The rows that each query returns."""
        now = self._clock.now()
        question = {
            "now": now.isoformat(),
            "lines": self._lines,
            "queries": {
                name: {"text": text, "since": window and (now - window).isoformat()}
                for name, (text, window) in queries.items()
            },
        }
        runner = _runner()
        assert runner.stdin
        assert runner.stdout
        runner.stdin.write(json.dumps(question) + "\n")
        runner.stdin.flush()
        answer = json.loads(runner.stdout.readline())
        assert "error" not in answer, answer["error"]
        rows: dict[str, Rows] = answer["rows"]
        return rows


@cache
def _runner() -> subprocess.Popen[str]:
    """The process that runs all queries: loading Microsoft's parser takes most of a second."""
    runner = subprocess.Popen(  # noqa: S603 -- our own script
        ["node", str(_RUNNER)],  # noqa: S607 -- Node from the PATH
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(runner.communicate)  # closes its input, which ends it
    return runner
