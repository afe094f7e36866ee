"""The example page, used as a person uses it.

`UPDATE_SCREENSHOT=1` in the environment replaces the picture in the README.
"""

import os
import re

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.support.browser import PATIENCE, Seen, browser_page
from tests.support.stack import ROOT

pytestmark = pytest.mark.asyncio(loop_scope="session")
expect.set_options(timeout=PATIENCE)

SCREENSHOT = ROOT / "docs" / "images" / "example.png"
IDENTITY = re.compile("8:acs:[0-9a-f-]{36}_[0-9a-f-]{36}")
TOKEN = re.compile(r"eyJ\S{9}…\S{8}")
# Minutes after which a token that is valid for an hour is refreshed.
MINUTES = 50


@pytest_asyncio.fixture(loop_scope="session")
async def example(page: Page, site: str) -> Page:
    """The example page."""
    await page.goto(f"{site}/example/")
    return page


async def text(page: Page, selector: str) -> str:
    """Returns the visible text of an element."""
    return (await page.inner_text(selector)).strip()


async def sign_in(page: Page, user: str) -> None:
    """Signs in as a user that no other test uses."""
    await page.fill("input", user)
    await page.click("#sign-in button")
    await expect(page.locator("#token")).to_have_text(TOKEN)
    await expect(page.locator("#user-id")).to_contain_text("aad/")


async def test_sign_in_leads_to_a_token(example: Page, seen: Seen) -> None:
    """One click shows the user, the identity, the scopes of the token and the next refresh."""
    await sign_in(example, "alice")

    assert await text(example, "#user") == "alice"
    assert IDENTITY.fullmatch(await text(example, "#identity"))
    assert (await text(example, "#scopes")).split() == ["chat", "voip"]
    assert seen.refusals == []


async def test_the_countdown_runs(example: Page) -> None:
    """It counts down to ten minutes before the expiry."""
    await sign_in(example, "bob")

    first = await text(example, "#countdown")
    await expect(example.locator("#countdown")).not_to_have_text(first)

    assert re.fullmatch(rf"in ({MINUTES - 1}:\d\d|{MINUTES}:00)", first)
    assert await text(example, "#countdown") < first


async def test_refresh(example: Page, seen: Seen) -> None:
    """The button fetches another token for the same identity."""
    await sign_in(example, "carol")
    identity, token = await text(example, "#identity"), await text(example, "#token")

    await example.click("#refresh")

    await expect(example.locator("#token")).not_to_have_text(token)
    assert await text(example, "#identity") == identity
    assert seen.refusals == []


async def test_the_token_is_refreshed_automatically(example: Page, seen: Seen) -> None:
    """When the countdown ends, the page fetches a token for the same identity without a click."""
    await example.clock.install()
    await sign_in(example, "frank")
    token = await text(example, "#token")

    await example.clock.fast_forward((MINUTES + 1) * 60_000)

    await expect(example.locator("#token")).not_to_have_text(token)
    assert (await text(example, "#calls li >> nth=0")).split() == ["POST", "/api/me/tokens", "200"]
    assert seen.refusals == []


async def test_sign_out_everywhere(example: Page, seen: Seen) -> None:
    """The page forgets the user, who has the same identity after signing in again."""
    await sign_in(example, "dave")
    identity = await text(example, "#identity")

    await example.click("#sign-out")

    await expect(example.locator("#farewell")).to_contain_text("revoked")
    await expect(example.locator("#me")).to_be_hidden()
    await sign_in(example, "dave")
    assert await text(example, "#identity") == identity
    assert seen.refusals == []


async def test_delete_me_and_restore_me(example: Page, seen: Seen) -> None:
    """A deleted user gets no token but learns how to restore the identity, and can restore it."""
    await sign_in(example, "erin")
    identity, problem = await text(example, "#identity"), example.locator("#problem")

    await example.click("#delete")
    await expect(example.locator("#state")).to_contain_text("restored until")
    assert await text(example, "#token") == await text(example, "#countdown") == "none"

    await example.click("#refresh")
    await expect(problem).to_contain_text("409 identity_deleted")
    await expect(problem).to_contain_text("me/restore")
    assert seen.refusals == ["409 /api/me/tokens"]

    await example.click("#restore")
    await expect(example.locator("#token")).to_have_text(TOKEN)
    await expect(problem).to_be_hidden()
    assert await text(example, "#identity") == identity
    assert seen.refusals == ["409 /api/me/tokens"]


async def test_the_content_security_policy_blocks_injected_scripts(
    example: Page, seen: Seen
) -> None:
    """A script that is written into the page does not run, and the violation is reported."""
    await example.evaluate(
        "document.body.append(Object.assign(document.createElement('script'),"
        " { textContent: 'document.title = `injected`' }))"
    )

    assert await example.title() == "My access token"
    [violation] = seen.console
    assert "Content Security Policy" in violation
    seen.console.clear()


async def test_the_picture_in_the_readme(browser: Browser, site: str) -> None:
    """The README shows the example page, in a file of less than 300 kB."""
    if os.environ.get("UPDATE_SCREENSHOT"):
        async with browser_page(
            browser, viewport={"width": 860, "height": 700}, device_scale_factor=1.5
        ) as (page, _):
            await page.goto(f"{site}/example/")
            await sign_in(page, "alice")
            await page.screenshot(path=SCREENSHOT)

    assert "docs/images/example.png" in (ROOT / "README.md").read_text()
    assert SCREENSHOT.stat().st_size < 300_000
