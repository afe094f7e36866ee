"""The page to try the API on, in a real browser."""

import asyncio
import json
import os
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

from tests.browser.chromium import chromium
from tests.contract.running import World, running

HERE = Path(__file__).parent


async def tried(world: World, folder: Path) -> Any:
    """What a person sees who tries an operation with the key."""
    process = await asyncio.create_subprocess_exec(
        *("node", str(HERE / "try_page.mjs")),
        stdout=PIPE,
        stderr=PIPE,
        cwd=HERE,
        env=os.environ
        | world.environment()
        | {"CHROMIUM": chromium(), "PROFILE": str(folder / "profile")},
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return json.loads(output)


async def test_try_an_operation(tmp_path: Path) -> None:
    """With the key, an operation works from the page; nothing breaks its policy or leaves home."""
    async with running(tmp_path, {}) as world:
        seen = await tried(world, tmp_path)

    assert (seen["status"], seen["troubles"], seen["origins"]) == ("201", [], [world.app_url])
    assert seen["body"]["id"].startswith("8:acs:")
