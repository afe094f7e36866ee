"""One run of Schemathesis against the running app, and what came of it."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from identity_service.web import DOCUMENT
from tests.contract.running import World

CONFIGURATION = Path(__file__).parent / "schemathesis.toml"
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        exit_code: 0 when every answer was as it should be.
        statuses: How often which status was answered.
        text: What Schemathesis says about it.
    """

    exit_code: int
    statuses: dict[int, int]
    text: str

    @property
    def cases(self) -> int:
        """How many requests were sent."""
        return sum(self.statuses.values())


async def fuzz(world: World, folder: Path, examples: int, options: Sequence[str] = ()) -> Outcome:
    """Send the app whatever Schemathesis thinks of, so many examples per operation."""
    document, report = folder / "strict.json", folder / "report.ndjson"
    document.write_text(json.dumps(strict(json.loads(DOCUMENT.read_text()))))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION)),
        *("run", str(document), "--max-examples", str(examples), "--no-color"),
        *("--report", "ndjson", "--report-ndjson-path", str(report)),
        *options,
        stdout=PIPE,
        stderr=STDOUT,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | world.environment(),
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return Outcome(process.returncode, _statuses(report), output.decode())


def strict(document: Any) -> Any:
    """The document without its openness to new members: this app has no others."""
    for schema in document["components"]["schemas"].values():
        if "properties" in schema and "allOf" not in schema:
            schema["additionalProperties"] = False
    return document


def _statuses(report: Path) -> dict[int, int]:
    statuses: dict[int, int] = {}
    for line in report.read_text().splitlines():
        finished = json.loads(line).get("ScenarioFinished", {})
        for one in (finished.get("recorder", {}).get("interactions") or {}).values():
            status = (one.get("response") or {}).get("status_code", 0)
            statuses[status] = statuses.get(status, 0) + 1
    return statuses
