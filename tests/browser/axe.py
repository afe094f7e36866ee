"""Checks the accessibility of a page, with axe-core."""

from pathlib import Path
from typing import Any, Literal

from playwright.async_api import Page

_SCRIPT = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
_SCHEMES: tuple[Literal["dark", "light"], ...] = ("dark", "light")
# A page can react to the colour scheme in a script, which runs before the next frame. A colour that
# is still changing has the wrong contrast.
_RUN = """async () => {
  await new Promise(requestAnimationFrame);
  const changes = document.getAnimations().filter((each) => each instanceof CSSTransition);
  changes.forEach((each) => each.finish());
  return (await axe.run()).violations;
}"""


async def violations(page: Page) -> list[str]:
    """Returns the defects of the page as it is now, in the dark and in the light colour scheme.

    Each names the scheme, axe's rule and the element, and says what to change. Afterwards the
    page has the light scheme, as a new page does.
    """
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(_SCRIPT.read_text())
    found = []
    for scheme in _SCHEMES:
        await page.emulate_media(color_scheme=scheme)
        for rule in await page.evaluate(_RUN):
            found += [_describe(scheme, rule["id"], node) for node in rule["nodes"]]
    return found


def _describe(scheme: str, rule: str, node: dict[str, Any]) -> str:
    return f"{scheme}: {rule}: {node['target']}: {node['failureSummary']}"
