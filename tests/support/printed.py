"""The commands that the documents print, each with the output that they show for it."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

from markdown_it import MarkdownIt

from tests.support.stack import ROOT

# Blocks in these languages are data.
_DATA = {"json", "kusto", "mermaid", "text", "toml", "yaml"}
CODE = {"python": ".venv/bin/python -", "javascript": "node --input-type=module -"}
_ALIASES = {"bash": "sh", "js": "javascript", "mjs": "javascript", "py": "python"}
# A block without a language is a command if it begins with an assignment, a subshell or one of
# these programs.
_PROGRAMS = (
    r"\.|\.venv/bin/\S+|acsid|azd?|cat|cd|cp|curl|docker|export|for|func|git|jq|make|mkdir|node|npm"
    r"|npx|pip|pipx|pytest|python3?|rm|sh|source|uv"
)
_COMMAND = re.compile(rf"(?:\w+=|\( $|(?:{_PROGRAMS})\s)")
# A date in an example stands for any date.
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass(frozen=True)
class Printed:
    """One or more commands as they are printed, without an empty line between them.

    Attributes:
        page: The path of the document in the project.
        language: `sh`, a language of CODE, another language, or "" if it is unknown what this is.
        output: What the document shows as the output, or "".
    """

    page: str
    line: int
    language: str
    text: str
    output: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"

    def shows(self, printed: str) -> bool:
        """Whether the document shows this output, except for white space. `…` is any text."""
        parts = (re.escape("".join(part.split())) for part in re.split("…", self.output))
        expected = _DATE.sub(lambda _: _DATE.pattern, ".*".join(parts).replace(r"\-", "-"))
        return re.fullmatch(expected, "".join(printed.split()), re.DOTALL) is not None


def documents() -> list[str]:
    """Every document of the project."""
    call = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 -- our own call
    return sorted(name for name in listed.stdout.splitlines() if (ROOT / name).exists())


def printed_on(page: str, markdown: str | None = None) -> list[Printed]:
    """Everything on a page that is or might be a command, in the order of the page.

    `markdown` is its text, by default that of the file.
    """
    found: list[Printed] = []
    for token in MarkdownIt().parse(markdown or (ROOT / page).read_text("utf-8")):
        if token.type not in ("fence", "code_block") or token.info in _DATA:
            continue
        line = (token.map or [0])[0] + 1
        if token.info == "console":
            found += _of_terminal(page, line, token.content)
        elif token.info:
            language = _ALIASES.get(token.info, token.info)
            found.append(Printed(page, line, language, token.content.rstrip("\n")))
        else:
            found += _of_block(page, line, token.content)
    return found


def named_on(page: str) -> set[str]:
    """The commands that sentences and tables on a page name."""
    tokens = MarkdownIt().enable("table").parse((ROOT / page).read_text("utf-8"))
    spans = (span for token in tokens for span in token.children or [])
    return {
        span.content for span in spans if span.type == "code_inline" and _is_command(span.content)
    }


def _of_terminal(page: str, line: int, block: str) -> Iterator[Printed]:
    """Each command after a prompt, with what follows it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        text, _, output = part.partition("\n")
        yield Printed(page, line, "sh", text, output.strip())


def _of_block(page: str, line: int, block: str) -> Iterator[Printed]:
    """Each part between empty lines. The part after commands is their output."""
    parts = block.strip("\n").split("\n\n")
    for number, part in enumerate(parts):
        before, after = parts[number - 1 : number], parts[number + 1 : number + 2]
        if _is_command(part):
            output = "".join(text for text in after if not _is_command(text))
            yield Printed(page, line, "sh", part, output)
        elif not part.startswith(("{", "[")) and not any(map(_is_command, before)):
            yield Printed(page, line, "", part)


def _is_command(part: str) -> bool:
    lines = part.splitlines()
    comments = list(takewhile(lambda line: line.startswith("#"), lines))
    return bool(lines[len(comments) :] and _COMMAND.match(lines[len(comments)] + " "))


def logical_lines(text: str) -> list[str]:
    """The commands of a text, each with the lines that continue it."""
    return re.split(r"(?<![\\|&])\n(?!\s)", text)
