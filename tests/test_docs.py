"""The documentation agrees with the repository: links, paths, log events, and the index."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from identity_service.sweep import SweepReport

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


def test_index() -> None:
    """The index links to every page."""
    linked = {(DOCS / target).resolve() for target in LINK.findall(prose(DOCS / "index.md"))}

    assert linked >= set(DOCS.glob("*.md")) - {DOCS / "index.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pictures(page: Path) -> None:
    """Diagrams are Mermaid, which can be edited as text; only screenshots are images."""
    images = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text())

    assert {Path(image).name for image in images} <= {"try-it.png", "example.png"}
