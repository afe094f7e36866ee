"""A headless Chromium, driven by Playwright."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, ConsoleMessage, Page, Response, async_playwright

from tests.support.programs import required
from tools.setup.programs import browser as find_browser

# Milliseconds that a page may take on a busy machine.
PATIENCE = 30_000
OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage")


def chromium() -> str:
    """Returns the path of the browser. Where there is none, the test is skipped; in CI it fails."""
    return required(find_browser)


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """Runs the browser until the end of the block."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=[*OPTIONS])
        async with browser:
            yield browser


@dataclass
class Seen:
    """What a page did that its author would want to know.

    Attributes:
        console: Errors and warnings in the console, except for error statuses.
        refusals: Responses with an error status, as `409 /api/me/tokens`.
        origins: The origins to which the page sent requests.
    """

    console: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    origins: set[str] = field(default_factory=set)

    def watch(self, page: Page) -> None:
        """Starts recording."""
        page.on("console", self._record_message)
        page.on("pageerror", lambda error: self.console.append(str(error)))
        page.on("response", self._record_response)
        page.on("request", lambda request: self.origins.add(origin(request.url)))

    def _record_message(self, message: ConsoleMessage) -> None:
        is_status = message.text.startswith("Failed to load resource: the server responded")
        if message.type in {"error", "warning"} and not is_status:
            self.console.append(message.text)

    def _record_response(self, response: Response) -> None:
        if response.status >= 400:
            self.refusals.append(f"{response.status} {urlsplit(response.url).path}")


def origin(url: str) -> str:
    """Returns the origin of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@asynccontextmanager
async def browser_page(browser: Browser, **options: Any) -> AsyncIterator[tuple[Page, Seen]]:
    """Opens a page in a new profile with these context options, and records what it does."""
    async with await browser.new_context(**options) as context:
        context.set_default_timeout(PATIENCE)
        page, seen = await context.new_page(), Seen()
        seen.watch(page)
        yield page, seen
