"""Six-field NCRONTAB schedules: `{second} {minute} {hour} {day} {month} {weekday}`, in UTC.

Unlike cron, a day has to satisfy the day *and* the weekday field.
Source: https://github.com/atifaziz/NCrontab/wiki/Crontab-Expression
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import product
from typing import NamedTuple

# 29 February on a given weekday can take 40 years to come around.
_HORIZON_DAYS = 41 * 366
_SHORTEST_NAME = 3


class ScheduleError(ValueError):
    """An expression that is no NCRONTAB, or one that never occurs."""


class _Field(NamedTuple):
    title: str
    first: int
    last: int
    names: tuple[str, ...] = ()


_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("weekday", 0, 6, _WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The moments at which a timer fires: sorted, allowed values of each field."""

    expression: str
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    @classmethod
    def parse(cls, expression: str) -> "Schedule":
        """Read numbers, `*`, ranges, lists, steps and English names of months and weekdays.

        Raises:
            ScheduleError: with the part that is wrong, and why.
        """
        parts = expression.split()
        if len(parts) != len(_FIELDS):
            raise ScheduleError(
                f"{expression!r} has {len(parts)} fields, {len(_FIELDS)} are needed"
            )
        allowed = [_allowed(part, field) for part, field in zip(parts, _FIELDS, strict=True)]
        schedule = cls(expression, *allowed)
        schedule.next_after(datetime(2000, 1, 1))  # noqa: DTZ001 - any day shows whether one comes
        return schedule

    def next_after(self, moment: datetime) -> datetime:
        """The first occurrence after `moment`, which has to be in UTC.

        Raises:
            ScheduleError: there is none, as on 31 February.
        """
        start = moment.replace(microsecond=0) + timedelta(seconds=1)
        for ahead in range(_HORIZON_DAYS):
            day = start.date() + timedelta(days=ahead)
            if self._includes(day):
                found = self._time_from(time.min if ahead else start.time())
                if found:
                    return datetime.combine(day, found, moment.tzinfo)
        raise ScheduleError(f"{self.expression!r} never occurs")

    def _includes(self, day: date) -> bool:
        return (
            day.month in self.months
            and day.day in self.days
            and day.isoweekday() % 7 in self.weekdays
        )

    def _time_from(self, earliest: time) -> time | None:
        hours = [hour for hour in self.hours if hour >= earliest.hour]
        times = (time(*parts) for parts in product(hours, self.minutes, self.seconds))
        return next((found for found in times if found >= earliest), None)


def _allowed(text: str, field: _Field) -> tuple[int, ...]:
    allowed: set[int] = set()
    for part in text.split(","):
        allowed.update(_span(part, field))
    return tuple(sorted(allowed))


def _span(part: str, field: _Field) -> range:
    span, slash, step = part.partition("/")
    if slash and not (_is_number(step) and int(step)):
        raise ScheduleError(f"{part!r} has no step of 1 or more for the {field.title}")
    first, last = _ends(span, field, open_ended=bool(slash))
    if not field.first <= first <= last <= field.last:
        limits = f"{field.first} to {field.last}"
        raise ScheduleError(f"{part!r} is not within {limits}, in order, for the {field.title}")
    return range(first, last + 1, int(step or 1))


def _ends(span: str, field: _Field, *, open_ended: bool) -> tuple[int, int]:
    if span == "*":
        return field.first, field.last
    first, dash, last = span.partition("-")
    start = _value(first, field)
    if dash:
        return start, _value(last, field)
    return start, field.last if open_ended else start


def _value(text: str, field: _Field) -> int:
    if _is_number(text):
        return int(text)
    for number, name in enumerate(field.names, field.first):
        if len(text) >= _SHORTEST_NAME and name.startswith(text.lower()):
            return number
    raise ScheduleError(f"{text!r} is no {field.title}")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
