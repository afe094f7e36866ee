"""Checks the schedules of timer triggers: six fields, seconds first.

Source: https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions
"""

import re

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

# For each field: its lowest and highest number, and the names of its numbers.
_FIELDS: list[tuple[int, int, list[str]]] = [
    (0, 59, []),
    (0, 59, []),
    (0, 23, []),
    (1, 31, []),
    (1, 12, ["", *_MONTHS]),
    (0, 6, _DAYS),
]
_PART = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>[1-9][0-9]?))?", re.ASCII)


def is_valid(expression: str) -> bool:
    """Whether the Functions host accepts the expression as a schedule."""
    fields = expression.split()
    return len(fields) == len(_FIELDS) and all(
        _is_field(text, *limits) for text, limits in zip(fields, _FIELDS, strict=True)
    )


def _is_field(text: str, lowest: int, highest: int, names: list[str]) -> bool:
    return all(_is_part(part, lowest, highest, names) for part in text.split(","))


def _is_part(text: str, lowest: int, highest: int, names: list[str]) -> bool:
    found = _PART.fullmatch(text)
    if not found:
        return False
    ends = [_number(end, names) for end in found.group("first", "last") if end]
    return all(lowest <= end <= highest for end in ends) and ends == sorted(ends)


def _number(text: str, names: list[str]) -> int:
    """The number that the text is or names. -1, which no field allows, if it is neither."""
    if text.isdigit():
        return int(text[:3])
    name = text.lower()[:3]
    return names.index(name) if name in names else -1
