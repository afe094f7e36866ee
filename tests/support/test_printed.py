"""What counts as a command in a document, and as its output."""

import pytest

from tests.support.printed import Printed, printed_on

PAGE = """
Text, and `make run` in a sentence.

    id=$(acsid find alice)
    curl "$URL" \\
      -d '{}'

    {"id": "8:acs:…"}

    make run

1. In a list:

       # a comment
       az login

```console
$ acsid ready
ok
$ acsid list
```

```js
import fs from "fs";

fs.exists();
```

    unknown thing

```json
{"not": "a command"}
```
"""


def test_commands_are_found_with_their_output() -> None:
    """In indented blocks, in lists, after a prompt and as code. Data is left out."""
    found = [(each.language, each.text, each.output) for each in printed_on("page", PAGE)]

    assert found == [
        (
            "sh",
            """id=$(acsid find alice)\ncurl "$URL" \\\n  -d '{}'""",
            '{"id": "8:acs:…"}',
        ),
        ("sh", "make run", ""),
        ("sh", "# a comment\naz login", ""),
        ("sh", "acsid ready", "ok"),
        ("sh", "acsid list", ""),
        ("javascript", 'import fs from "fs";\n\nfs.exists();', ""),
        ("", "unknown thing", ""),
    ]


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ("id  …", "id 1\n", True),
        ("id  …", "name 1", False),
        ("a …", "a b c", True),
        ("a", "a b", False),
        ('{"on":"2030-01-02T12:00:00Z"}', '{"on": "2026-11-29T07:00:01Z"}', True),
        ('{"on":"2030-01-02T12:00:00Z"}', '{"on": "today"}', False),
    ],
)
def test_output_is_compared(shown: str, printed: str, *, expected: bool) -> None:
    """White space does not count. An ellipsis is any text, and a date any date."""
    assert Printed("page", 1, "sh", "command", shown).shows(printed) is expected
