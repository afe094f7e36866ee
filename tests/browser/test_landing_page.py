"""The landing page of the local app."""

import json
import subprocess

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.browser.axe import violations
from tests.support.browser import PATIENCE, Seen, browser_page

pytestmark = pytest.mark.asyncio(loop_scope="session")
expect.set_options(timeout=PATIENCE)


@pytest_asyncio.fixture(loop_scope="session")
async def landing(page: Page, site: str) -> Page:
    """The landing page."""
    await page.goto(f"{site}/")
    return page


async def test_the_page_is_accessible(landing: Page) -> None:
    """This holds in both colour schemes."""
    assert await violations(landing) == []


async def test_the_page_is_complete(landing: Page, seen: Seen) -> None:
    """Its style, script and icon are found, and the console has no error."""
    await expect(landing.locator("img")).to_be_visible()

    assert (seen.refusals, seen.console) == ([], [])


async def test_every_link_works(landing: Page, site: str, env: dict[str, str]) -> None:
    """The pages, the log, the emulator's README, health and readiness open with one click."""
    links = [str(await link.get_attribute("href")) for link in await landing.locator("a").all()]

    responses = [await landing.request.get(f"{site}{link}") for link in links]

    key = env["FUNCTION_KEY"]
    assert links == [
        *("/docs/", "/example/", "/.local/app.log", "/.local/acs.md"),
        *("/api/health", f"/api/ready?code={key}", "/docs/openapi.json"),
    ]
    assert [response.status for response in responses] == [200] * len(links)


async def test_the_command_works_when_copied(landing: Page) -> None:
    """The button copies a command that creates an identity with a token."""
    await landing.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button = landing.get_by_role("button", name="Copy the command")

    await button.click()

    await expect(landing.get_by_role("button", name="Copied")).to_be_visible()
    command = await landing.evaluate("navigator.clipboard.readText()")
    ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)  # noqa: S603, S607, ASYNC221 -- the command of our own page; nothing else runs here
    assert json.loads(ran.stdout).keys() >= {"id", "token"}


async def test_the_page_needs_no_script(browser: Browser, site: str, env: dict[str, str]) -> None:
    """Without scripts it has every address and the key, and no button that does nothing."""
    async with browser_page(browser, java_script_enabled=False) as (page, _):
        await page.goto(f"{site}/")

        text = await page.inner_text("main")
        assert env["FUNCTION_KEY"] in text
        for name in ("FUNCTIONS_URL", "ACS_ENDPOINT", "ACS_CONTROL_URL", "IDENTITY_ENDPOINT"):
            assert env[name] in text
        for service in ("Blob", "Queue", "Table"):
            assert f"{service} storage" in text
        await expect(page.locator("button")).to_have_count(0)


async def test_only_the_function_key_is_shown(
    landing: Page, site: str, env: dict[str, str]
) -> None:
    """Other secrets are neither on the page nor in the log, to which it links."""
    log = await landing.request.get(f"{site}/.local/app.log")
    text = await landing.content() + await log.text()

    assert "operation_finished" in await log.text()
    assert env["FUNCTION_KEY"] not in await log.text()
    for name in ("MASTER_KEY", "IDENTITY_HEADER", "ACS_CONTROL_KEY", "ACS_CONNECTION_STRING"):
        assert env[name] not in text
