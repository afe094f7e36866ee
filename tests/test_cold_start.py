"""What a cold worker imports, and that it imports OpenTelemetry only if telemetry is on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.settings import MINIMAL

ROOT = Path(__file__).parent.parent
TELEMETRY = "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY"

_PROGRAM = """
import asyncio, json, sys
import function_app
async def first_request():
    assert function_app.services.lifecycle
asyncio.run(first_request())
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def imported(**settings: str) -> set[str]:
    """Return the packages that are imported after all clients are created."""
    run = subprocess.run(  # noqa: S603 -- our own program
        [sys.executable, "-c", _PROGRAM],
        cwd=ROOT,
        env={**MINIMAL, **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(run.stdout))


@pytest.mark.parametrize("setting", ["", "false"])
def test_opentelemetry_off(setting: str) -> None:
    """Without telemetry no part of OpenTelemetry is imported."""
    assert "opentelemetry" not in imported(**{TELEMETRY: setting})


def test_opentelemetry_on() -> None:
    """With telemetry the API of OpenTelemetry is imported."""
    assert "opentelemetry" in imported(**{TELEMETRY: "true"})
