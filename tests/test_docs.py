"""The documentation reads as one: nothing in it leads nowhere, and it has every operation."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from identity_service.web import DOCUMENT

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), *(ROOT / "local").glob("**/README.md")])
PAGES = [page for page in PAGES if "node_modules" not in page.parts]

FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return FENCED.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub makes anchors of them."""
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(prose(page)))
    return {each.strip().replace(" ", "-") for each in words}


def links() -> Iterator[tuple[Path, str]]:
    """Every link within the repository, with the page that it stands on."""
    for page in PAGES:
        for target in LINK.findall(prose(page)):
            if not target.startswith(("http://", "https://")):
                yield page, target


@pytest.mark.parametrize(
    ("page", "target"), list(links()), ids=lambda value: getattr(value, "name", value)
)
def test_link(page: Path, target: str) -> None:
    """A link leads to a file that is there, and to a heading that it has."""
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page

    assert file.exists()
    assert not anchor or anchor in anchors(file)


def test_index() -> None:
    """The index leads to every page."""
    linked = {(DOCS / target).resolve() for target in LINK.findall(prose(DOCS / "index.md"))}

    assert linked >= set(DOCS.glob("*.md")) - {DOCS / "index.md"}


def test_operations() -> None:
    """The page of the operations has every one of them."""
    told = re.findall(r"^\| `(\w+ /\S*)` \|", (DOCS / "operations.md").read_text(), re.MULTILINE)
    every = {
        f"{method.upper()} {path}"
        for path, methods in json.loads(DOCUMENT.read_text())["paths"].items()
        for method in methods
    }

    assert set(told) == every


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pictures(page: Path) -> None:
    """Drawings are Mermaid, which everybody can change; only screenshots are images."""
    images = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text())

    assert {Path(image).name for image in images} <= {"try-it.png", "example.png"}
