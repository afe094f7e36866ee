"""Facts about an app whose source changes while `python -m local` serves it."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from local.app import App
from local.children import Children
from local.servers import reserve
from tests.local.running_host import KEYS, write_app
from tests.support.stack import PATIENCE

# `slow` responds when the file `released` appears, so a test decides when.
SOURCE = """
import asyncio, pathlib
import azure.functions as func
from identity_service import VERSION

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.route(route="health", methods=["GET"])
async def health(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(VERSION)

@app.route(route="slow", methods=["GET"])
async def slow(req: func.HttpRequest) -> func.HttpResponse:
    pathlib.Path("started").touch()
    while not pathlib.Path("released").exists():
        await asyncio.sleep(0.01)
    return func.HttpResponse(VERSION)
"""


@dataclass
class Served:
    """An app that follows the changes of its source.

    Attributes:
        shown: what the user has been told.
    """

    root: Path
    session: aiohttp.ClientSession
    shown: list[str] = field(default_factory=list)

    def write(self, version: str) -> None:
        """Write a source that consists of two files."""
        package = self.root / "identity_service"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text(version)
        write_app(self.root, f"{SOURCE}# {version}")

    async def get(self, route: str) -> str:
        """Send a request."""
        async with self.session.get(f"/api/{route}") as response:
            return await response.text()

    async def messages(self, number: int) -> list[str]:
        """Wait until the user has been told this many things."""
        async with asyncio.timeout(PATIENCE):
            while len(self.shown) < number:  # noqa: ASYNC110 -- the list has no event
                await asyncio.sleep(0.02)
        return self.shown


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """An app of version 1."""
    environ = {**os.environ, **KEYS}
    children = Children(tmp_path / "processes")
    (tmp_path / "app").mkdir()
    with reserve(0, "--app-port") as reserved:
        app = App(tmp_path / "app", lambda: environ, children, reserved, tmp_path / "app.log")
        async with aiohttp.ClientSession(app.url) as session:
            served = Served(tmp_path / "app", session)
            served.write("VERSION = '1'")
            try:
                await app.start()
                following = asyncio.create_task(app.follow_changes(served.shown.append))
                yield served
                following.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await following
            finally:
                await app.stop()


async def test_a_changed_source_is_served(served: Served) -> None:
    """A request that the last version has begun still gets its response from it."""
    slow = asyncio.create_task(served.get("slow"))
    async with asyncio.timeout(PATIENCE):
        while not (served.root / "started").exists():  # noqa: ASYNC110 -- of another process
            await asyncio.sleep(0.02)

    served.write("VERSION = 'two'")
    async with asyncio.timeout(PATIENCE):
        while await served.get("health") != "two":
            pass
    (served.root / "released").touch()

    assert await slow == "1"
    assert await served.messages(1) == ["The source has changed, and the app has restarted."]


async def test_a_broken_source_is_shown(served: Served) -> None:
    """The last version keeps serving until the source is fixed. Two files are one change."""
    served.write("VERSION = (")
    [error] = await served.messages(1)
    meanwhile = await served.get("health")
    served.write("VERSION = 'fixed'")
    [_, restarted] = await served.messages(2)

    assert "The app does not load" in error
    assert "SyntaxError: '(' was never closed" in error
    assert meanwhile == "1"
    assert "restarted" in restarted
    assert await served.get("health") == "fixed"
