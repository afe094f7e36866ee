"""What a page of another origin can do to somebody who is signed in, in a real browser."""

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.browser.chromium import Page, browser_page

# What the page of the other origin is told of a call: `read`, or `nothing`.
_ATTEMPT = "fetch({url}, {options}).then(() => 'read', () => 'nothing')"


@pytest.fixture
async def elsewhere(env: dict[str, str]) -> AsyncIterator[Page]:
    """A page of another origin: to a browser 127.0.0.1 is another one than localhost."""
    async with browser_page() as page:
        await page.open(env["FUNCTIONS_URL"].replace("localhost", "127.0.0.1"))
        yield page


async def attempt(page: Page, url: str, **options: object) -> str:
    """Call the app from there."""
    call = _ATTEMPT.format(url=json.dumps(url), options=json.dumps(options))
    return str(await page.value(call))


async def test_a_foreign_page_reads_nothing(elsewhere: Page, env: dict[str, str]) -> None:
    """Neither a token nor who is signed in; the same calls from the app's own origin it could."""
    url = env["FUNCTIONS_URL"]
    alice = '{"user": "alice"}'

    assert await attempt(elsewhere, f"{url}/.local/sign-in", method="POST", body=alice) == "nothing"
    for method, path in (("GET", "me"), ("POST", "me/tokens"), ("POST", "me/restore")):
        assert await attempt(elsewhere, f"{url}/api/{path}", method=method) == "nothing"
    own = url.replace("localhost", "127.0.0.1")
    assert await attempt(elsewhere, f"{own}/api/me") == "read"


async def test_a_foreign_page_deletes_nobody(elsewhere: Page, env: dict[str, str]) -> None:
    """Not even with their token: the browser asks first, and nobody answers that it may."""
    url = env["FUNCTIONS_URL"]
    async with aiohttp.ClientSession(url) as session:
        async with session.post("/.local/sign-in", json={"user": "grace"}) as signed_in:
            bearer = {"Authorization": f"Bearer {(await signed_in.json())['token']}"}
        async with session.post("/api/me/tokens", headers=bearer) as issued:
            assert issued.ok

        for path in ("me", "me/tokens"):
            said = await attempt(elsewhere, f"{url}/api/{path}", method="DELETE", headers=bearer)
            assert said == "nothing"

        async with session.get("/api/me", headers=bearer) as held:
            assert held.ok
