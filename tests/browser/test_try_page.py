"""The page for trying the API.

`UPDATE_SCREENSHOT=1` in the environment replaces the picture in docs/getting-started.md.
"""

import json
import os

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from tests.browser.axe import violations
from tests.support.browser import PATIENCE, Seen
from tests.support.stack import ROOT

pytestmark = pytest.mark.asyncio(loop_scope="session")
expect.set_options(timeout=PATIENCE)

SCREENSHOT = ROOT / "docs" / "images" / "try-it.png"


@pytest_asyncio.fixture(loop_scope="session")
async def operation(page: Page, site: str) -> Locator:
    """The operation that creates an identity with a token. The page has filled in the key."""
    await page.set_viewport_size({"width": 1000, "height": 1000})
    await page.goto(f"{site}/docs")
    await wait_for_key(page)
    return page.locator("#operations-Identities-create_identity_with_token")


async def wait_for_key(page: Page) -> None:
    """Waits until the page has filled in the key."""
    await expect(page.locator(".btn.authorize.locked")).to_be_visible()


async def execute(operation: Locator) -> Locator:
    """Executes the operation, and returns the response."""
    await operation.locator(".opblock-summary-control").click()
    await operation.get_by_role("button", name="Execute").click()
    return operation.locator(".live-responses-table .response")


async def test_an_operation_can_be_tried(page: Page, operation: Locator, seen: Seen) -> None:
    """Without entering anything, an operation succeeds from the page, also after a reload."""
    await page.reload()
    await wait_for_key(page)

    response = await execute(operation)

    assert (await response.locator(".response-col_status").inner_text()).strip() in {"200", "201"}
    body = json.loads(await response.locator("pre").first.inner_text())
    assert body["id"].startswith("8:acs:")
    assert seen.refusals == []


async def test_the_key_is_the_first_field(page: Page, operation: Locator) -> None:
    """Authorize opens at the function key, which is filled in; the other fields are empty."""
    await expect(operation).to_be_visible()

    await page.get_by_role("button", name="Authorize").first.click()

    first, *others = await page.locator(".dialog-ux .auth-container").all()
    await expect(first.get_by_role("heading").first).to_be_in_viewport()
    await expect(first).to_contain_text("x-functions-key")
    await expect(first.get_by_role("button", name="Logout")).to_be_visible()
    assert [await other.locator("input").input_value() for other in others] == [""] * len(others)


async def test_schemas_are_folded(page: Page, operation: Locator) -> None:
    """Their heading is there, and no schema."""
    await expect(operation).to_be_visible()

    await expect(page.locator("section.models h4")).to_have_text("Schemas")
    await expect(page.locator("section.models article")).to_have_count(0)


async def test_the_page_is_accessible(page: Page, operation: Locator) -> None:
    """So are the dialog, an operation with its response, parameters, and a schema."""
    if os.environ.get("UPDATE_SCREENSHOT"):
        await page.screenshot(path=SCREENSHOT)

    assert await violations(page) == []
    await page.get_by_role("button", name="Authorize").first.click()
    assert await violations(page) == []
    await page.get_by_role("dialog").get_by_role("button", name="Close").first.click()
    await expect(await execute(operation)).to_be_visible()
    await page.locator("#operations-Identities-register_identity .opblock-summary-control").click()
    await page.locator("#operations-Identities-list_identities .opblock-summary-control").click()
    await page.locator(".models-control").click()
    await page.locator(".models .json-schema-2020-12-expand-deep-button").first.click()
    await expect(page.locator(".models .json-schema-2020-12-property").first).to_be_visible()
    assert await violations(page) == []


async def test_the_page_is_dark_on_request(page: Page, operation: Locator) -> None:
    """It follows the colour scheme of the browser, even if that changes."""
    await expect(operation).to_be_visible()
    background = "getComputedStyle(document.documentElement).backgroundColor"
    light = await page.evaluate(background)

    await page.emulate_media(color_scheme="dark")

    await page.wait_for_function(f"{background} === 'rgb(28, 32, 34)'")
    assert light == "rgba(0, 0, 0, 0)"
