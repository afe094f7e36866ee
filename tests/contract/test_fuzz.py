"""Whatever is sent to the running app, its answer is one that the document promises."""

import os
import ssl
from pathlib import Path
from typing import Any

import aiohttp

from tests.contract.fuzzing import fuzz
from tests.contract.running import World, running

# Per operation. `make fuzz` has more; without it each run sends the same.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "80"))
REPEATABLE = () if "FUZZ_EXAMPLES" in os.environ else ("--seed", "7")

# A fault explains a refusal, a repetition, and that something is not where it was left.
EXPLAINED_BY_FAULTS = (
    "not_a_server_error,positive_data_acceptance,negative_data_rejection,"
    "use_after_free,ensure_resource_availability"
)
# Each meets so many of the calls to ACS; the seeds keep them apart.
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
SLOW: dict[str, Any] = {"kind": "hang", "times": 3}


async def test_healthy(tmp_path: Path) -> None:
    """With everything well, no answer is outside the document and none is of 500 or more."""
    async with running(tmp_path, {}) as world:
        outcome = await fuzz(world, tmp_path, EXAMPLES, REPEATABLE)

    assert outcome.exit_code == 0, outcome.text
    assert outcome.cases >= 2000


async def test_faults(tmp_path: Path) -> None:
    """Whatever goes wrong with ACS, no answer is outside the document."""
    async with running(tmp_path, {}) as world:
        await arm_faults(world)
        options = (*REPEATABLE, "--exclude-checks", EXPLAINED_BY_FAULTS)
        outcome = await fuzz(world, tmp_path, EXAMPLES // 4, options)

    assert outcome.exit_code == 0, outcome.text
    assert {429, 502, 503, 504} <= outcome.statuses.keys()


async def arm_faults(world: World) -> None:
    """Let ACS fail in every way from now on, a few calls in a hundred each."""
    env = world.environment()
    tls = ssl.create_default_context(cafile=env["SSL_CERT_FILE"])
    headers = {"x-acs-control-key": env["ACS_CONTROL_KEY"]}
    async with aiohttp.ClientSession(headers=headers) as session:
        for seed, fault in enumerate([*FAULTS, SLOW]):
            drawn = {"share": 0.04, "seed": seed, **fault}
            async with session.post(
                f"{env['ACS_CONTROL_URL']}/faults", json=drawn, ssl=tls, raise_for_status=True
            ):
                pass
