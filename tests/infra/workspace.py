"""A Log Analytics workspace in memory: the lines that the app logs, and the queries on them."""

import atexit
import json
import logging
import subprocess
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from identity_service.log import EventLog, begin_invocation
from identity_service.ports import Clock

# The caller of a request whose caller is not known.
UNKNOWN = "-"
_RUNNER = Path(__file__).parent / "run_queries.mjs"

events = EventLog("identity_service.http.triggers")
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
        self._lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line."""
        self.add(record.getMessage())

    def add(
        self,
        line: str,
        times: int = 1,
        *,
        table: str = "AppTraces",
        size: int = 0,
        is_billable: bool = True,
    ) -> None:
        """Keep a line that another process has logged, so many times.

        Args:
            line: What it says.
            times: How often.
            table: Where it is.
            size: The number of bytes for which Azure bills.
            is_billable: Whether Azure bills for it.
        """
        now = self._clock.now().isoformat()
        billed = {"_BilledSize": size, "_IsBillable": is_billable}
        self._lines.append(
            {"TimeGenerated": now, "Message": line, "times": times, "table": table, **billed}
        )

    def repeat(self, times: int) -> None:
        """Keep the last line so many times."""
        self._lines[-1]["times"] = times

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


def calls(caller: str) -> None:
    """From here on the caller calls."""
    begin_invocation(str(uuid4()), caller)


def finishes(  # noqa: PLR0913 -- what a line says
    caller: str,
    operation: str,
    status: int = 200,
    code: str = "ok",
    identity_id: str = "",
    *,
    duration_ms: int = 40,
    acs_ms: int = 30,
    table_ms: int = 5,
    throttles: int = 0,
) -> None:
    """Log that a call got its response."""
    calls(caller if caller != UNKNOWN else "")
    events.info(
        "operation_finished",
        operation=operation,
        status=status,
        code=code,
        field=None,
        duration_ms=duration_ms,
        acs_ms=acs_ms,
        table_ms=table_ms,
        credential_ms=0,
        throttles=throttles,
        identity_id=identity_id,
        upstream_request_id="",
        caller=caller,
    )


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
