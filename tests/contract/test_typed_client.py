"""A typed client, generated from the document, compiles and calls through every operation."""

import asyncio
import json
import os
import shutil
from asyncio.subprocess import PIPE
from pathlib import Path

from identity_service.web import DOCUMENT
from tests.contract.running import running

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
GENERATOR = MODULES / "openapi-typescript" / "bin" / "cli.js"
COMPILER = MODULES / "typescript" / "bin" / "tsc"


async def node(folder: Path, *arguments: object, **env: str) -> str:
    """What a program of Node prints."""
    process = await asyncio.create_subprocess_exec(
        *("node", *map(str, arguments)), stdout=PIPE, stderr=PIPE, cwd=folder, env=os.environ | env
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, output.decode() + errors.decode()
    return output.decode()


async def compiled(folder: Path) -> Path:
    """The client, generated and compiled in this folder."""
    (folder / "node_modules").symlink_to(MODULES)
    for name in ("client.ts", "tsconfig.json", "package.json"):
        shutil.copy(HERE / name, folder / name)
    await node(folder, GENERATOR, DOCUMENT, "--output", folder / "api.d.ts")
    await node(folder, COMPILER, "--project", folder)
    return folder / "client.js"


async def test_typed_client(tmp_path: Path) -> None:
    """Every operation is called, and answers what its type says."""
    client = await compiled(tmp_path)
    async with running(tmp_path, {}) as world:
        answered = json.loads(await node(tmp_path, client, **world.environment()))

    every = {
        f"{method.upper()} {path}"
        for path, methods in json.loads(DOCUMENT.read_text())["paths"].items()
        for method in methods
    }
    refused = {call for call, statuses in answered.items() if not all(map(_is_success, statuses))}
    assert set(answered) == every
    assert refused == {"POST /identities/{id}/tokens", "POST /me/teams-token"}


def _is_success(status: int) -> bool:
    return 200 <= status < 300
