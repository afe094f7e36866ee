"""The example page, used as a person uses it.

`UPDATE_SCREENSHOT=1` in the environment replaces the picture in the README.
"""

import os
import re
from collections.abc import Sequence

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Request, Route, expect

from tests.browser.axe import violations
from tests.support.browser import PATIENCE, Seen, browser_page
from tests.support.client import Client, Control
from tests.support.stack import ROOT

pytestmark = pytest.mark.asyncio(loop_scope="session")
expect.set_options(timeout=PATIENCE)

SCREENSHOT = ROOT / "docs" / "images" / "example.png"
IDENTITY = re.compile("8:acs:[0-9a-f-]{36}_[0-9a-f-]{36}")
SIGN_IN = "/.local/sign-in"
TOKENS = "POST /api/me/tokens"
# Minutes after which a token that is valid for an hour is refreshed.
MINUTES = 50
# The width of a small phone.
PHONE = 360
# The buttons that each state allows.
OFFERS = {
    "none": ["Create my identity", "Sign out"],
    "active": ["Get a new token", "Sign out", "Sign out everywhere", "Delete me"],
    "suspended": ["Sign out"],
    "deleted by the user": ["Restore me", "Sign out"],
    "deleted by a service": ["Sign out"],
}


@pytest_asyncio.fixture(loop_scope="session")
async def example(page: Page, site: str) -> Page:
    """The example page."""
    await page.goto(f"{site}/example/")
    return page


async def text(page: Page, selector: str) -> str:
    """Returns the visible text of an element."""
    return (await page.inner_text(selector)).strip()


async def sign_in(page: Page, user: str) -> None:
    """Signs in, and waits until the page has asked for the user's identity."""
    await page.fill("input", user)
    await page.press("input", "Enter")
    await expect(page.locator("#state")).not_to_be_empty()
    await expect(page.locator("#sign-in")).to_have_attribute("aria-busy", "false")


async def sign_up(page: Page, user: str) -> str:
    """Signs in as a user that no other test uses; returns the new identity's id."""
    await sign_in(page, user)
    await page.click("#create")
    await expect(page.locator("#id")).to_have_text(IDENTITY)
    return await text(page, "#id")


async def offers(page: Page) -> list[str]:
    """Returns the buttons that the page shows."""
    return [each.strip() for each in await page.locator("#me button:visible").all_inner_texts()]


async def calls(page: Page) -> list[str]:
    """Returns the calls that the page lists, the latest first."""
    return [" ".join(each.split()) for each in await page.locator("#calls li").all_inner_texts()]


async def focus(page: Page) -> str:
    """Returns the id of the focused element, or its text, or its kind."""
    expression = "({id, innerText, tagName}) => id || innerText || tagName"
    return str(await page.evaluate(f"({expression})(document.activeElement)"))


def recorded(page: Page) -> list[Request]:
    """Returns the requests that the page sends from now on."""
    requests: list[Request] = []

    def record(request: Request) -> None:
        requests.append(request)

    page.on("request", record)
    return requests


async def lasts(page: Page, user: str, minutes: float) -> None:
    """Limits the user's next sign-ins to this time. If it is negative, they have expired."""

    async def limit(route: Route) -> None:
        await route.continue_(post_data={"user": user, "minutes": minutes})

    await page.route(f"**{SIGN_IN}", limit)


def sent(requests: Sequence[Request], path: str) -> list[Request]:
    """Returns the requests to this path."""
    return [each for each in requests if each.url.endswith(path)]


async def test_a_new_user_gets_a_token(example: Page, seen: Seen) -> None:
    """Two clicks show the user, the new identity, the scopes of the token and the next refresh."""
    await sign_up(example, "amy")

    assert await text(example, "#user") == "amy"
    assert "aad/" in await text(example, "#user-id")
    assert (await text(example, "#scopes")).split() == ["chat", "voip"]
    assert seen.refusals == ["404 /api/me"]


async def test_the_countdown_runs(example: Page) -> None:
    """It counts down to ten minutes before the expiry."""
    await sign_up(example, "bob")

    first = await text(example, "#countdown")
    await expect(example.locator("#countdown")).not_to_have_text(first)

    assert re.fullmatch(rf"in ({MINUTES - 1}:\d\d|{MINUTES}:00)", first)
    assert await text(example, "#countdown") < first


async def test_refresh(example: Page, seen: Seen) -> None:
    """The button fetches another token for the same identity."""
    identity = await sign_up(example, "carol")
    before = await calls(example)

    await example.click("#refresh")

    await expect(example.locator("#calls li")).to_have_count(len(before) + 1)
    assert (await calls(example))[0] == f"{TOKENS} 200"
    assert await text(example, "#id") == identity
    assert seen.refusals == ["404 /api/me"]


async def test_the_token_is_refreshed_automatically(example: Page, seen: Seen) -> None:
    """When the countdown ends, the page fetches a token without a click."""
    await example.clock.install()
    await sign_up(example, "frank")
    before = await calls(example)

    await example.clock.fast_forward((MINUTES + 1) * 60_000)

    await expect(example.locator("#calls li")).to_have_count(len(before) + 1)
    assert (await calls(example))[0] == f"{TOKENS} 200"
    assert seen.refusals == ["404 /api/me"]


async def test_the_sign_in_is_renewed(example: Page, seen: Seen) -> None:
    """After more than an hour the page still works, with another bearer token."""
    requests = recorded(example)
    await example.clock.install()
    await sign_up(example, "henry")
    await lasts(example, "henry", minutes=90)  # another time, another token

    async with example.expect_response("**/api/me/tokens"):
        await example.clock.fast_forward(65 * 60_000)

    first, *_, last = sent(requests, "/api/me/tokens")
    assert first.headers["authorization"] != last.headers["authorization"]
    assert len(sent(requests, SIGN_IN)) == 2
    assert await offers(example) == OFFERS["active"]


async def test_a_rejected_sign_in_leads_back_to_the_form(example: Page, seen: Seen) -> None:
    """After a 401 the page says so, shows nothing of the user, and the form has the focus."""
    await sign_up(example, "ivan")
    await example.clock.install()
    await lasts(example, "ivan", minutes=-1)
    await example.clock.fast_forward(61 * 60_000)

    await example.press("#refresh", "Enter")

    await expect(example.locator("#reason")).to_have_text("Your sign-in has ended. Sign in again.")
    await expect(example.locator("#me")).to_be_hidden()
    assert await focus(example) == "INPUT"
    assert await example.inner_text("#id") == ""
    await example.unroute(f"**{SIGN_IN}")
    await sign_in(example, "ivan")
    await expect(example.locator("#token")).to_be_visible()


async def test_the_token_is_neither_shown_nor_kept_in_the_page(example: Page, seen: Seen) -> None:
    """No part of the signature is in the document. The fixture looks into the storage."""
    await sign_in(example, "judy")
    async with example.expect_response("**/api/me/tokens") as issued:
        await example.click("#create")
    await expect(example.locator("#id")).to_have_text(IDENTITY)
    signature = (await (await issued.value).json())["token"].rpartition(".")[2]

    document = await example.content()

    assert signature[:6] not in document
    assert signature[-6:] not in document


async def test_sign_out_everywhere(example: Page, seen: Seen) -> None:
    """The page forgets the user, who has the same identity after signing in again."""
    identity = await sign_up(example, "dave")

    await example.click("#revoke")

    await expect(example.locator("#reason")).to_contain_text("revoked")
    await expect(example.locator("#me")).to_be_hidden()
    await sign_in(example, "dave")
    assert await text(example, "#id") == identity
    assert seen.refusals == ["404 /api/me"]


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("sign out", "You signed out in another tab."),
        ("sign in as another user", "In another tab, mallory signed in."),
    ],
)
async def test_another_tab(example: Page, site: str, act: str, reason: str) -> None:
    """The page notices that another tab has signed its user out or another one in."""
    await sign_up(example, f"kim, {act}")
    other = await example.context.new_page()
    await other.goto(f"{site}/example/")
    await sign_in(other, f"kim, {act}")
    await expect(example.locator("#me")).to_be_visible()

    await other.click("#sign-out")
    if act != "sign out":
        await sign_in(example, f"kim, {act}")
        await sign_in(other, "mallory")

    await expect(example.locator("#reason")).to_have_text(reason)
    await expect(example.locator("#me")).to_be_hidden()


async def test_deleting_asks_first(example: Page) -> None:
    """Escape and the first button keep the identity, and the focus returns to where it was."""
    await sign_up(example, "leo")
    before = await calls(example)
    for answer in ("Escape", "Enter"):
        await example.press("#delete", "Enter")
        await expect(example.locator("dialog")).to_be_visible()
        assert await focus(example) == "Keep it"

        await example.keyboard.press(answer)

        await expect(example.locator("dialog")).to_be_hidden()
        await expect(example.locator("#me")).to_have_attribute("aria-busy", "false")
        assert await focus(example) == "delete"
    assert await calls(example) == before


async def test_delete_me_and_restore_me(example: Page, seen: Seen) -> None:
    """A deleted user has no token, sees until when a restore is possible, and can restore."""
    identity = await sign_up(example, "erin")

    await example.click("#delete")
    await example.get_by_role("button", name="Delete", exact=True).click()
    await expect(example.locator("#state")).to_contain_text("restore it until")
    await expect(example.locator("#token")).to_be_hidden()

    await example.click("#restore")
    await expect(example.locator("#token")).to_be_visible()
    assert await text(example, "#id") == identity
    assert seen.refusals == ["404 /api/me"]


@pytest.mark.parametrize("state", OFFERS)
async def test_offers(example: Page, service: Client, state: str) -> None:
    """After sign-in the page offers only what the state allows. axe finds nothing."""
    user = f"olga, {state}"
    if state == "none":
        await sign_in(example, user)
    else:
        identity = await sign_up(example, user)
        if state == "suspended":
            (await service.post(f"identities/{identity}/suspend")).assert_success()
        elif state == "deleted by a service":
            (await service.delete(f"identities/{identity}")).assert_success(202)
        elif state == "deleted by the user":
            await example.click("#delete")
            await example.get_by_role("button", name="Delete", exact=True).click()
            await expect(example.locator("#restore")).to_be_visible()
        await example.click("#sign-out")
        await sign_in(example, user)

    assert await offers(example) == OFFERS[state]
    assert await violations(example) == []


async def test_a_change_by_a_service_is_noticed(example: Page, service: Client) -> None:
    """After a refusal the page shows why, and the identity's new state."""
    identity = await sign_up(example, "peggy")
    (await service.post(f"identities/{identity}/suspend")).assert_success()

    await example.click("#refresh")

    await expect(example.locator("#problem")).to_contain_text("409 identity_suspended")
    await expect(example.locator("#state")).to_contain_text("suspended")
    await expect(example.locator("#me")).to_have_attribute("aria-busy", "false")
    assert await offers(example) == OFFERS["suspended"]
    assert await violations(example) == []


async def test_retry_after(example: Page, faults: Control) -> None:
    """The page waits as long as the service says, says so, and then succeeds."""
    await sign_up(example, "quinn")
    await example.clock.install()
    await example.clock.pause_at(await example.evaluate("Date.now() + 60_000"))
    await faults.inject("status", operation="issue", status=429, retryAfter=20, times=1)

    await example.click("#refresh")

    await expect(example.locator("#wait")).to_have_text("Too many requests. Trying again in 20 s.")
    await example.clock.run_for(19_000)
    assert (await calls(example))[0] == f"{TOKENS} 429"
    await example.clock.run_for(2_000)
    await expect(example.locator("#wait")).to_be_empty()
    assert (await calls(example))[0] == f"{TOKENS} 200"


async def test_a_failure_is_shown_in_words(example: Page, faults: Control) -> None:
    """If the service stays unavailable, the page says so; the button works as soon as it can."""
    await sign_up(example, "rita")
    await faults.inject("status", operation="issue", status=503, retryAfter=120)

    await example.click("#refresh")

    await expect(example.locator("#problem")).to_contain_text("is unavailable")
    assert await offers(example) == OFFERS["active"]
    await faults.clear()
    await example.click("#refresh")
    await expect(example.locator("#problem")).to_be_hidden()


async def test_offline(example: Page, seen: Seen) -> None:
    """The page says that it gets no response, and goes on by itself when it is online again."""
    await sign_up(example, "sven")
    await example.context.set_offline(True)

    await example.click("#refresh")

    await expect(example.locator("#wait")).to_contain_text("No response. Trying again in")
    await example.context.set_offline(False)
    await expect(example.locator("#wait")).to_be_empty()
    assert (await calls(example))[0] == f"{TOKENS} 200"
    assert all("ERR_INTERNET_DISCONNECTED" in each for each in seen.console)
    seen.console.clear()


async def test_sign_out_while_the_page_waits(example: Page, faults: Control) -> None:
    """A call that the page would repeat ends with the sign-out. The next user is not affected."""
    await example.clock.install()
    await sign_up(example, "tina")
    await faults.inject("status", operation="issue", status=429, retryAfter=20, times=1)
    await example.click("#refresh")
    await expect(example.locator("#wait")).not_to_be_empty()
    requests = recorded(example)

    await example.click("#sign-out")
    await sign_in(example, "uma")
    await example.clock.fast_forward(21_000)
    await example.click("#create")
    await expect(example.locator("#id")).to_have_text(IDENTITY)

    assert len(sent(requests, "/api/me/tokens")) == 1
    assert await text(example, "#wait") == ""


async def test_the_keyboard_keeps_its_focus(example: Page) -> None:
    """A button that stays keeps the focus; if it disappears, the focus goes to what replaces it."""
    await sign_in(example, "wendy")
    assert await focus(example) == "user"

    await example.press("#create", "Enter")
    await expect(example.locator("#refresh")).to_be_visible()
    assert await focus(example) == "user"

    async with example.expect_response("**/api/me/tokens"):
        await example.press("#refresh", "Enter")
    await expect(example.locator("#me")).to_have_attribute("aria-busy", "false")
    assert await focus(example) == "refresh"

    await example.press("#sign-out", "Enter")
    assert await focus(example) == "INPUT"


async def test_a_phone(example: Page) -> None:
    """Nothing is cut off on a phone. axe finds nothing in the form and in the question."""
    await example.set_viewport_size({"width": PHONE, "height": 740})
    in_form = await violations(example)
    await sign_up(example, "vera")
    await example.click("#delete")

    assert in_form + await violations(example) == []
    assert await example.evaluate("document.documentElement.scrollWidth") <= PHONE


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
            await sign_up(page, "alice")
            await page.screenshot(path=SCREENSHOT)

    assert "docs/images/example.png" in (ROOT / "README.md").read_text()
    assert SCREENSHOT.stat().st_size < 300_000
