"""The documentation agrees with the repository: links, paths, log events, the README's code."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from identity_service.due_work import SweepReport

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
READMES = [
    page
    for name in ("local", "bench", "cli", "examples")
    for page in (ROOT / name).glob("**/README.md")
]
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), *READMES])
PAGES = [page for page in PAGES if "node_modules" not in page.parts]

FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FOLDERS = "identity_service|tools|cli|local|tests|bench|infra|docs|examples"
PATH = re.compile(rf"`((?:{FOLDERS})/[\w./-]*)")
EVENT = re.compile(r"^\| `(\w+)` \| (.*?) \|", re.MULTILINE)


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return FENCED.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub generates from a page's headings."""
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(prose(page)))
    return {each.strip().replace(" ", "-") for each in words}


def links() -> Iterator[tuple[Path, str]]:
    """Every link to a file of this repository, with the page that contains it."""
    for page in PAGES:
        for target in LINK.findall(prose(page)):
            if not target.startswith(("http://", "https://")):
                yield page, target


@pytest.mark.parametrize(
    ("page", "target"), list(links()), ids=lambda value: getattr(value, "name", value)
)
def test_link(page: Path, target: str) -> None:
    """A link's file exists and has the heading."""
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page

    assert file.exists()
    assert not anchor or anchor in anchors(file)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths(page: Path) -> None:
    """A path of this repository that a page names exists."""
    missing = {path for path in PATH.findall(prose(page)) if not (ROOT / path).exists()}

    assert missing - {"tests/operations/test_"} == set()  # test_<operation>.py


def logged_events() -> dict[str, set[str]]:
    """Every event that the app logs, and its fields."""
    events: dict[str, set[str]] = {}
    for file in (ROOT / "identity_service").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(
                        value=ast.Name(id="events"), attr="info" | "warning" | "error"
                    ),
                    args=[ast.Constant(value=str(event)), *_],
                ):
                    fields = {each.arg for each in node.keywords if each.arg}
                    events.setdefault(event, set()).update(fields)
    for event in ("sweep_finished", "sweep_failed"):
        events[event] |= SweepReport().values().keys()
    return events


def test_operate_lists_every_log_event() -> None:
    """The table of log events has exactly the events of the app, each with its fields."""
    section = (DOCS / "operate.md").read_text().split("### Log events")[1].split("\n### ")[0]
    documented = {
        event: set(re.findall(r"`(\w+)`", fields)) for event, fields in EVENT.findall(section)
    }

    assert documented == logged_events()


def test_every_event_is_found() -> None:
    """Each module calls its log `events`, and each event is a literal: the list is complete."""
    trees = [ast.parse(file.read_text()) for file in (ROOT / "identity_service").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    created = [ast.unparse(node) for node in nodes if is_call(node, "EventLog")]
    named = [
        ast.unparse(node.value)
        for node in nodes
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "events"
    ]
    events = [
        node.args[0]
        for node in nodes
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("events.")
    ]

    assert created == named
    assert all(isinstance(event, ast.Constant) for event in events)


def is_call(node: ast.AST, name: str) -> bool:
    """Whether the node calls the function or class of this name."""
    return isinstance(node, ast.Call) and ast.unparse(node.func) == name


def test_page_sizes() -> None:
    """docs/operations.md has the page sizes of openapi.json."""
    paths = json.loads((ROOT / "openapi.json").read_text())["paths"]
    sizes = {
        (each["schema"]["minimum"], each["schema"]["maximum"], each["schema"]["default"])
        for methods in paths.values()
        for each in methods.get("get", {}).get("parameters", ())
        if each.get("name") == "maxPageSize"
    }

    [(least, most, default)] = sizes
    text = f"`?maxPageSize=` is {least} to {most}; the default is {default}."
    assert text in (DOCS / "operations.md").read_text()


def test_index() -> None:
    """The index links to every page."""
    linked = {(DOCS / target).resolve() for target in LINK.findall(prose(DOCS / "index.md"))}

    assert linked >= set(DOCS.glob("*.md")) - {DOCS / "index.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pictures(page: Path) -> None:
    """Diagrams are Mermaid, which can be edited as text; only screenshots and a plot are images."""
    images = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text())

    assert {Path(image).name for image in images} <= {"try-it.png", "example.png", "bench.png"}


def test_readme_is_short() -> None:
    """The README is read in a few minutes: it has less than 900 words, with its code."""
    assert len((ROOT / "README.md").read_text().split()) < 900


# Status, headers, body.
Response = tuple[int, dict[str, str], str]
TOKEN = '{"token": "eyJ", "expiresOn": "2030-01-01T12:00:00Z"}'
ISSUED: Response = (200, {}, TOKEN)
SOON = {"Retry-After": "0"}


@contextmanager
def service(responses: list[Response]) -> Iterator[str]:
    """A service that sends these responses and then closes its port, so it has no other one."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, body = responses.pop(0)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def code(page: Path, language: str) -> str:
    """The one block of code in this language on the page."""
    fence = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    [found] = fence.findall(page.read_text())
    return str(found)


def run_readme(url: str) -> "subprocess.CompletedProcess[str]":
    """Run the Python code of the README."""
    env = {**os.environ, "FUNCTIONS_URL": url, "FUNCTION_KEY": "key"}
    command = [sys.executable, "-c", code(ROOT / "README.md", "python")]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)  # noqa: S603 -- our own code


def test_readme_code_obeys_retry_after() -> None:
    """It waits as the service says, after a 429 and after a 503, and then prints the result."""
    with service([(429, SOON, ""), (503, SOON, ""), ISSUED]) as url:
        done = run_readme(url)

    assert done.stdout == "2030-01-01T12:00:00Z\n"


def test_readme_code_retries_an_outage() -> None:
    """Without Retry-After it repeats after a 503."""
    with service([(503, {}, ""), ISSUED]) as url:
        done = run_readme(url)

    assert done.stdout == "2030-01-01T12:00:00Z\n"


@pytest.mark.parametrize(
    "refusal", [(401, {}, ""), (409, {}, "why"), (503, {"Retry-After": "3600"}, "later")]
)
def test_readme_code_gives_up(refusal: Response) -> None:
    """It does not repeat what fails again, and does not wait for an hour. The error says why."""
    responses = [refusal, ISSUED]
    with service(responses) as url:
        done = run_readme(url)

    assert responses == [ISSUED]
    assert f"RuntimeError: {refusal[0]} {refusal[2]}" in done.stderr


def test_identifiers_in_python() -> None:
    """The identifiers on "a user's life" are those of the SDK, and lead back to the id."""
    names: dict[str, Any] = {}
    exec(code(DOCS / "users-life.md", "python"), names)  # noqa: S102 -- our own code

    assert names["stored"] == names["id"]
    assert names["same"] == names["alice"]


def test_identifiers_in_javascript() -> None:
    """The same holds in JavaScript."""
    check = "console.log(stored === id, same.communicationUserId === alice.communicationUserId);"
    done = subprocess.run(
        ["node", "--input-type=module"],  # noqa: S607 -- from PATH
        input=code(DOCS / "users-life.md", "js") + check,
        cwd=ROOT / "tests" / "sdk",
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "true true\n"
