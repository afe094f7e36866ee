"""The evaluator of the other tests computes what Bicep would."""

from pathlib import Path
from typing import Any

import pytest

from tests.infra.evaluate import RefusedError, evaluate


def value(folder: Path, expression: str) -> Any:
    """The value of an expression."""
    file = folder / "x.bicep"
    file.write_text(
        "param flags object = { on: true, off: false, count: 3, list: ['a', 'b'] }\n"
        f"output value object = {{ is: {expression} }}\n"
    )
    return evaluate(str(file), {}).outputs["value"]["is"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("flags.off || flags.count > 2 && flags.on", True),
        ("flags.on ? flags.count : flags.list[0]", 3),
        ("flags.off ? 1 : flags.off ? 2 : flags.list[1]", "b"),
        ("!flags.off && !(flags.count == 4)", True),
        ("1 + 2 * flags.count - 1", 6),
        ("flags.count < 4 == flags.on", True),
        ("-flags.count", -3),
        ("flags.off ? fail('no') : ' x '", " x "),
        ("'${flags.count} of ${length(flags.list)} ${'it\\'s'}'", "3 of 2 it's"),
        ("map(flags.list, letter => '${letter}${flags.count}')", ["a3", "b3"]),
        ("[for (letter, index) in flags.list: index]", [0, 1]),
        ("union({ a: 1 }, { a: 2, 'b': 3 })", {"a": 2, "b": 3}),
    ],
)
def test_value(tmp_path: Path, expression: str, expected: object) -> None:
    """Operators have Bicep's precedence, and only what is needed is evaluated."""
    assert value(tmp_path, expression) == expected


@pytest.mark.parametrize("expression", ["newGuid()", "flags.list.other", "undeclared"])
def test_what_is_not_known_is_an_error(tmp_path: Path, expression: str) -> None:
    """The evaluator never guesses."""
    with pytest.raises((KeyError, AttributeError)):
        value(tmp_path, expression)


def test_refusal(tmp_path: Path) -> None:
    """The message is that of the template."""
    with pytest.raises(RefusedError, match="three is too many"):
        value(tmp_path, "flags.count == 3 ? fail('three is too many') : 1")
