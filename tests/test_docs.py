"""Links in the documentation work, and the index lists every page."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), *(ROOT / "local").glob("**/README.md")])
PAGES = [page for page in PAGES if "node_modules" not in page.parts]

FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


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


def test_index() -> None:
    """The index links to every page."""
    linked = {(DOCS / target).resolve() for target in LINK.findall(prose(DOCS / "index.md"))}

    assert linked >= set(DOCS.glob("*.md")) - {DOCS / "index.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pictures(page: Path) -> None:
    """Diagrams are Mermaid, which can be edited as text; only screenshots are images."""
    images = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text())

    assert {Path(image).name for image in images} <= {"try-it.png", "example.png"}
