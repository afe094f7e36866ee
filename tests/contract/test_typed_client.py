"""A typed client generated from openapi.json compiles and calls every operation."""

import asyncio
import json
import os
import shutil
from asyncio.subprocess import PIPE
from pathlib import Path

from identity_service.operations.status import DOCUMENT

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
GENERATOR = MODULES / "openapi-typescript" / "bin" / "cli.js"
COMPILER = MODULES / "typescript" / "bin" / "tsc"


async def node(folder: Path, *arguments: object, **environ: str) -> str:
    """Runs Node and returns what it prints."""
    process = await asyncio.create_subprocess_exec(
        *("node", *map(str, arguments)),
        stdout=PIPE,
        stderr=PIPE,
        cwd=folder,
        env=os.environ | environ,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, output.decode() + errors.decode()
    return output.decode()


async def compiled(folder: Path) -> Path:
    """Generates and compiles the client in this folder."""
    (folder / "node_modules").symlink_to(MODULES)
    for name in ("client.ts", "tsconfig.json", "package.json"):
        shutil.copy(HERE / name, folder / name)
    await node(folder, GENERATOR, DOCUMENT, "--output", folder / "api.d.ts")
    await node(folder, COMPILER, "--project", folder)
    return folder / "client.js"


async def test_typed_client(environ: dict[str, str], tmp_path: Path) -> None:
    """It compiles for every operation. Only two calls that must be refused do not succeed."""
    client = await compiled(tmp_path)
    statuses = json.loads(await node(tmp_path, client, **environ))

    every = {
        f"{method.upper()} {path}"
        for path, methods in json.loads(DOCUMENT.read_text())["paths"].items()
        for method in methods
    }
    refused = {call for call, seen in statuses.items() if not all(200 <= one < 300 for one in seen)}
    assert set(statuses) <= every
    assert refused == {"POST /identities/{id}/tokens", "POST /me/teams-token"}
