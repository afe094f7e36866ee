"""The sections of the pages with runbooks, and the shell commands in them."""

import re
import textwrap
from dataclasses import dataclass

from tests.support.stack import ROOT

# The pages, and the heading after which the runbooks come.
PAGES = {"operate.md": "runbooks", "retirement.md": "how-to-do-it"}

_FENCED = re.compile(r"^```.*?^```\n", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
# Four spaces or more: further lines of a list item are indented by three.
_BLOCK = re.compile(r"(?:^ {4,}\S.*\n)+", re.MULTILINE)
_INLINE = re.compile(r"`((?:azd?|acsid) [^`]+)`")


@dataclass(frozen=True)
class Section:
    """The text between one heading and the next.

    Attributes:
        slug: The anchor that GitHub generates for the heading.
    """

    slug: str
    level: int
    text: str

    @property
    def commands(self) -> list[str]:
        """The shell commands, those in blocks first."""
        blocks = [textwrap.dedent(block) for block in _BLOCK.findall(self.text)]
        return blocks + [" ".join(each.split()) for each in _INLINE.findall(self.text)]

    def command(self, text: str) -> str:
        """Returns the one command that contains `text`."""
        [found] = [command for command in self.commands if text in command]
        return found


def sections() -> list[Section]:
    """Returns all sections of all pages."""
    return [section for page in PAGES for section in _sections_of(page)]


def _sections_of(name: str) -> list[Section]:
    page = _FENCED.sub("", (ROOT / "docs" / name).read_text())
    headings = list(_HEADING.finditer(page))
    ends = [heading.start() for heading in headings[1:]] + [len(page)]
    return [
        Section(slug(found[2]), len(found[1]), page[found.end() : end])
        for found, end in zip(headings, ends, strict=True)
    ]


def slug(heading: str) -> str:
    """Returns the anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def section(slug: str) -> Section:
    """Returns the section with this anchor."""
    [found] = [each for each in sections() if each.slug == slug]
    return found


def runbooks() -> list[Section]:
    """Returns the sections below the headings of the runbooks."""
    found = []
    for page, heading in PAGES.items():
        on_page = _sections_of(page)
        found += on_page[[each.slug for each in on_page].index(heading) + 1 :]
    return found


# The variables that all commands use.
OPENING = section("operate").command("ACSID_URL=")
