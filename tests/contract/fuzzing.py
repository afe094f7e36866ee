"""Runs Schemathesis against the app."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from identity_service.operations.status import DOCUMENT
from tests.support.stack import ROOT

CONFIGURATION = Path(__file__).parent / "schemathesis.toml"


@dataclass(frozen=True)
class Outcome:
    """The result of a run.

    Attributes:
        exit_code: 0 when every response was as promised.
        statuses: How many responses had each status.
        text: The report of Schemathesis.
    """

    exit_code: int
    statuses: Counter[int]
    text: str


async def fuzz(
    environ: Mapping[str, str], folder: Path, examples: int, options: Sequence[str] = ()
) -> Outcome:
    """Sends this many examples to each operation."""
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
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return Outcome(process.returncode, _statuses(report), output.decode())


def strict(document: Any) -> Any:
    """Forbids unknown fields in the document: this version of the app returns none."""
    for schema in document["components"]["schemas"].values():
        if "properties" in schema and "allOf" not in schema:
            schema["additionalProperties"] = False
    return document


def _statuses(report: Path) -> Counter[int]:
    statuses: Counter[int] = Counter()
    for line in report.read_text().splitlines():
        finished = json.loads(line).get("ScenarioFinished", {})
        for one in (finished.get("recorder", {}).get("interactions") or {}).values():
            statuses[(one.get("response") or {}).get("status_code", 0)] += 1
    return statuses
