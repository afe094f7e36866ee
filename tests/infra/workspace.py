"""A Log Analytics workspace in memory: the lines that the app logs, and the queries on them."""

import json
import logging
import subprocess
from pathlib import Path
from typing import Any

from identity_service.ports import Clock

_RUNNER = Path(__file__).parent / "run_queries.mjs"


class Workspace(logging.Handler):
    """Receives the log lines of the app, at the time of this clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._lines: list[dict[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line."""
        self.add(record.getMessage())

    def add(self, line: str) -> None:
        """Keep a line that another process has logged."""
        now = self._clock.now().isoformat()
        self._lines.append({"TimeGenerated": now, "Message": line})

    def query(self, text: str) -> list[dict[str, Any]]:
        """The rows that a query returns. Times are in RFC 3339."""
        question = {"now": self._clock.now().isoformat(), "lines": self._lines, "query": text}
        run = subprocess.run(  # noqa: S603 -- our own script
            ["node", str(_RUNNER)],  # noqa: S607 -- Node from the PATH
            input=json.dumps(question),
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        rows: list[dict[str, Any]] = json.loads(run.stdout)
        return rows
