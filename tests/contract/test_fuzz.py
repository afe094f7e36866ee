"""The running app sends only responses that openapi.json promises, for any request."""

import os
from pathlib import Path
from typing import Any

from tests.contract.fuzzing import fuzz
from tests.support.client import Control

# Examples per operation. `make fuzz` sends more, and different ones in each run.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "50"))
REPEATABLE = () if "FUZZ_EXAMPLES" in os.environ else ("--seed", "7")

# A fault may cause a refusal, a repeated effect, and a resource that is not where it was.
EXPLAINED_BY_FAULTS = (
    "not_a_server_error,positive_data_acceptance,negative_data_rejection,"
    "use_after_free,ensure_resource_availability"
)
# Each fault affects a share of the calls to ACS; different seeds select different calls.
FAULTS: list[dict[str, Any]] = [
    {"kind": "status", "status": 429, "retryAfter": 7},
    {"kind": "status", "status": 429},
    {"kind": "status", "status": 500, "body": "html"},
    {"kind": "status", "status": 503, "when": "after", "retryAfter": 3},
    {"kind": "status", "status": 504, "body": "empty"},
    {"kind": "status", "status": 400},
    {"kind": "status", "status": 401, "code": "Denied"},
    {"kind": "status", "status": 403, "body": "html"},
    {"kind": "status", "status": 404},
    {"kind": "status", "status": 404, "body": "empty"},
    {"kind": "status", "status": 200, "body": "empty"},
    {"kind": "drop"},
    {"kind": "drop", "when": "after"},
    {"kind": "half"},
    {"kind": "unknownKey"},
]
# It lasts until the deadline of the app.
SLOW: dict[str, Any] = {"kind": "hang", "times": 1}


async def test_healthy(environ: dict[str, str], tmp_path: Path) -> None:
    """Without faults, every response is in the document and none has status 500 or more."""
    outcome = await fuzz(environ, tmp_path, EXAMPLES, REPEATABLE)

    assert outcome.exit_code == 0, outcome.text
    assert outcome.statuses.total() >= 2000


async def test_invalid_credentials(
    environ: dict[str, str], control: Control, tmp_path: Path
) -> None:
    """The platform's 401 for a wrong key and for an expired token is in the document."""
    expired = await control.sign_in("alice", minutes=-5)
    refused = {**environ, "FUNCTION_KEY": "wrong", "SIGN_IN_TOKEN": expired}
    # Valid data is refused here, too.
    options = (*REPEATABLE, "--exclude-checks", "positive_data_acceptance")
    outcome = await fuzz(refused, tmp_path, EXAMPLES // 8, options)

    assert outcome.exit_code == 0, outcome.text
    assert outcome.statuses[401] > outcome.statuses.total() / 2


async def test_faults(environ: dict[str, str], control: Control, tmp_path: Path) -> None:
    """While ACS fails in every way, a few calls in a hundred each, every response is promised."""
    for seed, fault in enumerate([*FAULTS, SLOW]):
        await control.inject(**{"share": 0.04, "seed": seed, **fault})

    options = (*REPEATABLE, "--exclude-checks", EXPLAINED_BY_FAULTS)
    outcome = await fuzz(environ, tmp_path, EXAMPLES // 4, options)

    assert outcome.exit_code == 0, outcome.text
    assert {429, 502, 503, 504} <= outcome.statuses.keys()
