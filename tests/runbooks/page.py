"""docs/operate.md, as somebody reads it who follows it: its sections, and the commands in them."""

import re
import textwrap
from dataclasses import dataclass

from tests.end_to_end.stack import ROOT

PAGE = (ROOT / "docs" / "operate.md").read_text()

_FENCED = re.compile(r"^```.*?^```\n", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
# Four spaces or more: what a list says in its further lines is indented by three.
_BLOCK = re.compile(r"(?:^ {4,}\S.*\n)+", re.MULTILINE)
_INLINE = re.compile(r"`((?:curl|azd?) [^`]+)`")


@dataclass(frozen=True)
class Section:
    """What stands below one heading, down to the next."""

    heading: str
    level: int
    text: str

    @property
    def commands(self) -> list[str]:
        """Its commands for the shell, those in blocks first."""
        blocks = [textwrap.dedent(block) for block in _BLOCK.findall(self.text)]
        return blocks + [" ".join(each.split()) for each in _INLINE.findall(self.text)]

    def command(self, text: str) -> str:
        """The one command that has this in it."""
        [found] = [command for command in self.commands if text in command]
        return found


def sections() -> list[Section]:
    """The whole page."""
    page = _FENCED.sub("", PAGE)
    headings = list(_HEADING.finditer(page))
    ends = [heading.start() for heading in headings[1:]] + [len(page)]
    return [
        Section(found[2], len(found[1]), page[found.end() : end])
        for found, end in zip(headings, ends, strict=True)
    ]


def section(heading: str) -> Section:
    """The section with this heading."""
    [found] = [each for each in sections() if each.heading == heading]
    return found


def runbooks() -> list[Section]:
    """Everything under the heading of the runbooks."""
    headings = [each.heading for each in sections()]
    return sections()[headings.index("Runbooks") + 1 :]


# What all commands take for granted.
OPENING = section("Operate").command("url=")
