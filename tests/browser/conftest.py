"""Everything, started as `make run` does, and a browser before it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.browser.chromium import Page, browser_page, chromium
from tests.end_to_end_callers.stack import ROOT, running


@pytest.fixture(scope="session")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What `.local/env` says while the example page is served."""
    try:
        chromium()
    except FileNotFoundError as missing:
        pytest.fail(str(missing), pytrace=False)
    if not (ROOT / "examples" / "web" / "dist" / "index.html").exists():
        pytest.fail("The example page is not built: make setup", pytrace=False)
    with running(tmp_path_factory.mktemp("azure"), "run", "Ctrl-C stops everything") as env:
        yield env


@pytest.fixture
async def page(env: dict[str, str]) -> AsyncIterator[Page]:
    """The example page, in a new browser. It keeps nothing, and nothing goes wrong."""
    async with browser_page() as page:
        await page.open(f"{env['FUNCTIONS_URL']}/example/")
        yield page
        assert await page.value("localStorage.length + sessionStorage.length") == 0
        assert await page.value("document.cookie") == ""
        assert page.troubles.console == []
        assert page.troubles.origins == {env["FUNCTIONS_URL"]}
