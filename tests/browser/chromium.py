"""A real browser without a window, driven over the Chrome DevTools Protocol.

Source: https://chromedevtools.github.io/devtools-protocol/
"""

import asyncio
import base64
import json
import os
import shutil
import signal
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

# Seconds within which something happens, on a machine that has much else to do.
PATIENCE = 30.0
LISTENING = "DevTools listening on "
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)
# Resolves once the expression holds, by looking again at whatever changes in the page.
_UNTIL = """new Promise((resolve) => {
  const look = () => { if (%s) { observer.disconnect(); resolve(true); } };
  const observer = new MutationObserver(look);
  observer.observe(document, {
    attributes: true, characterData: true, childList: true, subtree: true,
  });
  look();
})"""
_CENTRE = """(() => {
  const named = (each) => each.textContent.trim() === %s;
  const button = [...document.querySelectorAll("button")].find(named);
  button.scrollIntoView({ block: "center" });
  const { x, y, width, height } = button.getBoundingClientRect();
  return { x: x + width / 2, y: y + height / 2 };
})()"""
_CAN_BE_CLICKED = """[...document.querySelectorAll("button")].some(
  (each) => each.textContent.trim() === %s && each.checkVisibility() && !each.disabled)"""


def chromium() -> str:
    """Where the browser is.

    Raises:
        FileNotFoundError: there is none; the message says how to get one.
    """
    named = os.environ.get("CHROMIUM", "chromium")
    found = shutil.which(named)
    if found is None:
        raise FileNotFoundError(
            f"{named} is missing: apt-get install -y chromium, or name one: CHROMIUM=/path/to/it"
        )
    return found


@dataclass
class Troubles:
    """What a page's author would see in red."""

    console: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    origins: set[str] = field(default_factory=set)


class Page:
    """One page of the browser, and everything that it complained about."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._last = 0
        self._loaded = asyncio.Event()
        self._reading = asyncio.create_task(self._read())
        self.troubles = Troubles()

    async def open(self, address: str) -> None:
        """Go there."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.ask(f"{domain}.enable")
        self._loaded.clear()
        await self.ask("Page.navigate", url=address)
        async with asyncio.timeout(PATIENCE):
            await self._loaded.wait()

    async def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        """One command of the protocol."""
        self._last += 1
        number = self._last
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(PATIENCE):
            answer = await self._answers[number]
        assert "error" not in answer, (method, answer)
        result: dict[str, Any] = answer["result"]
        return result

    async def value(self, expression: str) -> Any:
        """What the expression is, in the page."""
        answer = await self.ask(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait for the expression to hold."""
        try:
            await self.value(_UNTIL % expression)
        except TimeoutError:
            raise AssertionError(f"{expression} never held:\n{await self.text()}") from None

    async def text(self, selector: str = "body") -> str:
        """What a person reads there."""
        text = await self.value(f"document.querySelector({json.dumps(selector)}).innerText")
        return str(text).strip()

    async def click(self, name: str) -> None:
        """Click a button where it stands, once it can be clicked."""
        await self.until(_CAN_BE_CLICKED % json.dumps(name))
        place = await self.value(_CENTRE % json.dumps(name))
        for kind in ("mousePressed", "mouseReleased"):
            await self.ask(
                "Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place
            )

    async def fast_forward(self, seconds: float) -> None:
        """Let so much time pass for the page alone, in next to none; requests are waited for."""
        await self.ask(
            "Emulation.setVirtualTimePolicy",
            policy="pauseIfNetworkFetchesPending",
            budget=seconds * 1000,
        )

    async def picture(self, width: int, height: int, scale: float) -> bytes:
        """A PNG of the page at that size, in CSS pixels."""
        await self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=False,
        )
        answer = await self.ask("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])

    async def close(self) -> None:
        """Stop listening."""
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading

    async def _read(self) -> None:
        async for message in self._socket:
            event = message.json()
            if "id" in event:
                self._answers.pop(event["id"]).set_result(event)
            else:
                self._note(event["method"], event["params"])

    def _note(self, method: str, said: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Runtime.exceptionThrown":
            self.troubles.console.append(str(said["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning"):
            self.troubles.console.append(str(said["args"]))
        elif method == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
            self._note_entry(said["entry"])
        elif method == "Network.requestWillBeSent":
            scheme, _, rest = said["request"]["url"].partition("://")
            self.troubles.origins.add(f"{scheme}://{rest.partition('/')[0]}")

    def _note_entry(self, entry: dict[str, Any]) -> None:
        # The browser itself reports every answer from 400 up; which ones came the tests know.
        if entry["source"] == "network" and "status of" in entry["text"]:
            path = "/" + entry["url"].split("/", 3)[3]
            status = entry["text"].partition("status of ")[2].split()[0]
            self.troubles.refusals.append(f"{status} {path}")
        else:
            self.troubles.console.append(entry["text"])


@asynccontextmanager
async def browser_page() -> AsyncIterator[Page]:
    """A page of a browser that nobody has used before; afterwards nothing of it is left."""
    # Of its own, and short: the browser keeps a socket there, whose path must not be long.
    with TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as folder:
        async with _browser(folder) as address, _connected(address) as page:
            yield page


@asynccontextmanager
async def _browser(folder: str) -> AsyncIterator[str]:
    """The browser, keeping everything in this folder; where it can be spoken to."""
    process = await asyncio.create_subprocess_exec(
        *(chromium(), *OPTIONS, f"--user-data-dir={folder}/profile", "about:blank"),
        env=os.environ | {"TMPDIR": folder},
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=PIPE,
        start_new_session=True,
    )
    assert process.stderr
    try:
        async with asyncio.timeout(PATIENCE):
            address = await _address(process.stderr)
        reading = asyncio.create_task(process.stderr.read())  # a full pipe would stop the browser
        yield address
    finally:
        # The browser is a family of processes.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    await reading


async def _address(errors: asyncio.StreamReader) -> str:
    said = ""
    while LISTENING not in said:
        line = (await errors.readline()).decode()
        assert line, said
        said += line
    return said.rpartition(LISTENING)[2].strip()


@asynccontextmanager
async def _connected(address: str) -> AsyncIterator[Page]:
    host = address.removeprefix("ws://").partition("/")[0]
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://{host}/json/list") as response:
            [tab] = [each for each in await response.json() if each["type"] == "page"]
        async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            page = Page(socket)
            try:
                yield page
            finally:
                await page.close()
