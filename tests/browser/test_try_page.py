"""The page for trying the API.

`UPDATE_SCREENSHOT=1` in the environment replaces the picture in the README.
"""

import json
import os

import pytest
from playwright.async_api import Page

from tests.support.browser import Seen
from tests.support.stack import ROOT

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCREENSHOT = ROOT / "docs" / "images" / "try-it.png"


async def test_an_operation_can_be_tried(
    page: Page, seen: Seen, site: str, env: dict[str, str]
) -> None:
    """With the key, an operation succeeds from the page."""
    await page.set_viewport_size({"width": 1000, "height": 1000})
    await page.goto(f"{site}/docs")
    await page.get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".dialog-ux")
    await dialog.locator("input").first.fill(env["FUNCTION_KEY"])
    await dialog.get_by_role("button", name="Apply credentials").first.click()
    await dialog.get_by_role("button", name="Close").last.click()
    # The picture is taken before anything secret is on the page.
    if os.environ.get("UPDATE_SCREENSHOT"):
        await page.screenshot(path=SCREENSHOT)
    operation = page.locator("#operations-Identities-create_identity_with_token")

    await operation.locator(".opblock-summary-control").click()
    await operation.get_by_role("button", name="Execute").click()

    response = operation.locator(".live-responses-table .response")
    assert (await response.locator(".response-col_status").inner_text()).strip() == "201"
    body = json.loads(await response.locator("pre").first.inner_text())
    assert body["id"].startswith("8:acs:")
    assert seen.refusals == []
