"""The example page in a real browser, as a person uses it.

`UPDATE_SCREENSHOT=1` in the environment takes the picture in the README anew.
"""

import os
import re

from tests.browser.chromium import Page
from tests.end_to_end_callers.stack import ROOT

SCREENSHOT = ROOT / "docs" / "images" / "example.png"
READY = "Signed in, and ready to chat and call."
IDENTITY = re.compile("8:acs:[0-9a-f-]{36}_[0-9a-f-]{36}")
# So many minutes after they are issued, tokens of an hour are refreshed.
MINUTES = 50


async def shows(page: Page, selector: str, text: str) -> None:
    """Wait until this stands there."""
    await page.until(f"document.querySelector({selector!r}).innerText.includes({text!r})")


async def signed_in(page: Page, user: str) -> None:
    """Sign in as a user of this test's own."""
    await page.value(f"document.querySelector('input').value = {user!r}")
    await page.click("Sign in")
    await shows(page, "#state", READY)
    await shows(page, "#user-id", "aad/")


async def test_from_sign_in_to_token(page: Page) -> None:
    """One click: who they are, what the token may, and when the next one comes."""
    await signed_in(page, "alice")

    assert await page.text("#user") == "alice"
    assert IDENTITY.fullmatch(await page.text("#identity"))
    assert (await page.text("#scopes")).split() == ["chat", "voip"]
    assert re.fullmatch(r"eyJ\S{9}…\S{8}", await page.text("#token"))
    assert page.troubles.refusals == []


async def test_the_countdown_runs(page: Page) -> None:
    """From ten minutes before the expiry backwards."""
    await signed_in(page, "bob")

    first = await page.text("#countdown")
    await page.until(f"document.querySelector('#countdown').innerText !== {first!r}")

    assert re.fullmatch(rf"in ({MINUTES - 1}:\d\d|{MINUTES}:00)", first)
    assert await page.text("#countdown") < first


async def test_refresh(page: Page) -> None:
    """Another token of the same identity."""
    await signed_in(page, "carol")
    identity, token = await page.text("#identity"), await page.text("#token")

    await page.click("Refresh")

    await page.until(f"document.querySelector('#token').innerText !== {token!r}")
    assert await page.text("#identity") == identity
    assert page.troubles.refusals == []


async def test_the_next_token_comes_by_itself(page: Page) -> None:
    """When the countdown has run down, and for the same identity; no button is clicked."""
    await signed_in(page, "frank")
    token = await page.text("#token")

    await page.fast_forward((MINUTES + 1) * 60)

    await page.until(f"document.querySelector('#token').innerText !== {token!r}")
    assert (await page.text("#calls li")).split() == ["POST", "/api/me/tokens", "200"]
    assert page.troubles.refusals == []


async def test_sign_out_everywhere(page: Page) -> None:
    """The page forgets its user; they may sign in again, and are the same."""
    await signed_in(page, "dave")
    identity = await page.text("#identity")

    await page.click("Sign out everywhere")

    await shows(page, "#farewell", "every token you had is revoked")
    assert not await page.value("document.querySelector('#me').checkVisibility()")
    await signed_in(page, "dave")
    assert await page.text("#identity") == identity
    assert page.troubles.refusals == []


async def test_delete_me_and_restore_me(page: Page) -> None:
    """Deleted, a user gets no token and is told why, and the way back; restored, they do again."""
    await signed_in(page, "erin")
    identity = await page.text("#identity")

    await page.click("Delete me")
    await shows(page, "#state", "You can be restored until")
    assert await page.text("#token") == await page.text("#countdown") == "none"

    await page.click("Refresh")
    await shows(page, "#problem", "The identity is deleted")
    assert "POST me/restore gives it back" in await page.text("#problem")
    assert "409 identity_deleted" in await page.text("#problem")
    assert page.troubles.refusals == ["409 /api/me/tokens"]

    await page.click("Restore me")
    await shows(page, "#state", READY)
    assert not await page.value("document.querySelector('#problem').checkVisibility()")
    assert await page.text("#identity") == identity
    assert page.troubles.refusals == ["409 /api/me/tokens"]


async def test_the_policy_stands_in_the_way_of_everything_else(
    page: Page, env: dict[str, str]
) -> None:
    """A script written into the page does not run; so this test would see a page that needs one."""
    await page.value(
        "document.body.append(Object.assign(document.createElement('script'),"
        " { textContent: 'document.title = `broken into`' }))"
    )

    assert await page.value("document.title") == "My access token"
    [violation] = page.troubles.console
    assert "Content Security Policy" in violation
    page.troubles.console.clear()


async def test_the_picture_in_the_readme(page: Page) -> None:
    """It is there; taken anew when that is asked for."""
    await signed_in(page, "alice")
    if os.environ.get("UPDATE_SCREENSHOT"):
        SCREENSHOT.parent.mkdir(exist_ok=True)
        SCREENSHOT.write_bytes(await page.picture(width=860, height=700, scale=1.5))

    assert "docs/images/example.png" in (ROOT / "README.md").read_text()
    assert SCREENSHOT.stat().st_size < 300_000
