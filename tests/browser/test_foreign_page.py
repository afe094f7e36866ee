"""What a page of another origin can do to a signed-in user."""

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.support.browser import browser_page

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def foreign_page(browser: Browser, site: str) -> AsyncIterator[Page]:
    """A page of another origin: for a browser, 127.0.0.1 and localhost are different origins."""
    async with browser_page(browser) as (page, _):
        await page.goto(site.replace("localhost", "127.0.0.1"))
        yield page


async def can_read(page: Page, url: str, **options: object) -> bool:
    """Whether a script on the page can read the response to this request."""
    request = f"fetch({json.dumps(url)}, {json.dumps(options)})"
    return bool(await page.evaluate(f"{request}.then(() => true, () => false)"))


async def test_a_foreign_page_reads_nothing(foreign_page: Page, site: str) -> None:
    """It reads neither tokens nor who is signed in, but could read responses of its own origin."""
    alice = '{"user": "alice"}'

    assert not await can_read(foreign_page, f"{site}/.local/sign-in", method="POST", body=alice)
    for method, path in (("GET", "me"), ("POST", "me/tokens"), ("POST", "me/restore")):
        assert not await can_read(foreign_page, f"{site}/api/{path}", method=method)
    own = site.replace("localhost", "127.0.0.1")
    assert await can_read(foreign_page, f"{own}/api/me")


async def test_a_foreign_page_deletes_nothing(foreign_page: Page, site: str) -> None:
    """Even with the user's token it cannot send DELETE, because the preflight is not allowed."""
    async with aiohttp.ClientSession(site) as session:
        async with session.post("/.local/sign-in", json={"user": "grace"}) as signed_in:
            bearer = {"Authorization": f"Bearer {(await signed_in.json())['token']}"}
        async with session.post("/api/me/tokens", headers=bearer) as issued:
            assert issued.ok

        for path in ("me", "me/tokens"):
            url = f"{site}/api/{path}"
            assert not await can_read(foreign_page, url, method="DELETE", headers=bearer)

        async with session.get("/api/me", headers=bearer) as found:
            assert found.ok
