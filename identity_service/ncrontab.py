"""The schedules of timer triggers: six fields, seconds first. A day must match both its fields.

Source: https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions
"""

import re
from datetime import date, datetime, time, timedelta
from itertools import product
from typing import NamedTuple

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
_LONGEST_MONTHS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
# 29 February is on a given weekday once in 40 years, if a century without a leap day is in between.
_HORIZON = 41 * 366


class Schedule(NamedTuple):
    """The numbers that each field allows, in order."""

    seconds: list[int]
    minutes: list[int]
    hours: list[int]
    days: list[int]
    months: list[int]
    weekdays: list[int]

    def next_after(self, moment: datetime) -> datetime:
        """The first occurrence after the moment. Both are in UTC."""
        start = moment.replace(microsecond=0) + timedelta(seconds=1)
        for ahead in range(_HORIZON):
            day = start.date() + timedelta(days=ahead)
            if self._includes(day) and (found := self._time(time() if ahead else start.time())):
                return datetime.combine(day, found, moment.tzinfo)
        raise AssertionError("a valid schedule occurs")

    def _includes(self, day: date) -> bool:
        return (
            day.month in self.months
            and day.day in self.days
            and day.isoweekday() % 7 in self.weekdays
        )

    def _time(self, earliest: time) -> time | None:
        hours = (hour for hour in self.hours if hour >= earliest.hour)
        times = (time(*parts) for parts in product(hours, self.minutes, self.seconds))
        return next((found for found in times if found >= earliest), None)


def parse(expression: str) -> Schedule:
    """Read a schedule as the Functions host does.

    Raises:
        ValueError: the host does not accept it, or it never occurs, such as on 31 February.
    """
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"{len(fields)} fields")
    schedule = Schedule(
        *(_numbers(text, *limits) for text, limits in zip(fields, _FIELDS, strict=True))
    )
    if all(schedule.days[0] > _LONGEST_MONTHS[month - 1] for month in schedule.months):
        raise ValueError("it never occurs")
    return schedule


def is_valid(expression: str) -> bool:
    """Whether the Functions host runs a timer on this schedule."""
    try:
        parse(expression)
    except ValueError:
        return False
    return True


def _numbers(text: str, lowest: int, highest: int, names: list[str]) -> list[int]:
    spans = [_span(part, lowest, highest, names) for part in text.split(",")]
    return sorted({number for span in spans for number in span})


def _span(text: str, lowest: int, highest: int, names: list[str]) -> range:
    found = _PART.fullmatch(text)
    if not found:
        raise ValueError(text)
    first, last, step = found.group("first", "last", "step")
    start = _number(first, names) if first else lowest
    end = highest
    if last:
        end = _number(last, names)
    elif first and not step:
        end = start
    if not (lowest <= start <= end <= highest and int(step or 1) <= highest):
        raise ValueError(text)
    return range(start, end + 1, int(step or 1))


def _number(text: str, names: list[str]) -> int:
    """The number that the text is or names. -1, which no field allows, if it is neither."""
    if text.isdigit():
        return int(text.lstrip("0")[:3] or 0)
    name = text.lower()[:3]
    return names.index(name) if name in names else -1
