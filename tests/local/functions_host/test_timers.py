"""Facts about timer schedules."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.functions_host.timers import Schedule, ScheduleError

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)  # a Wednesday
LAST_YEAR = 9900  # leaves room for an occurrence before the last year of a datetime
MOMENTS = st.datetimes(timezones=st.just(UTC)).filter(lambda moment: moment.year < LAST_YEAR)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("* * * * * *", "2025-01-01T12:00:01Z"),
        ("0 */5 * * * *", "2025-01-01T12:05:00Z"),
        ("30 2/20 * * * *", "2025-01-01T12:02:30Z"),
        ("0 0 3 * * *", "2025-01-02T03:00:00Z"),
        ("0 0 9-17/4 * * *", "2025-01-01T13:00:00Z"),
        ("0 15,45 * * * *", "2025-01-01T12:15:00Z"),
        ("0 0 0 * * mon", "2025-01-06T00:00:00Z"),
        ("0 0 0 * * Sunday", "2025-01-05T00:00:00Z"),
        ("0 0 0 1 JUL-sep *", "2025-07-01T00:00:00Z"),
        ("0 0 0 13 * 5", "2025-06-13T00:00:00Z"),
        ("0 0 0 29 2 *", "2028-02-29T00:00:00Z"),
        ("59 59 23 31 12 *", "2025-12-31T23:59:59Z"),
    ],
)
def test_the_next_occurrence(expression: str, expected: str) -> None:
    """Every field must match, both the day and the weekday."""
    assert Schedule.parse(expression).next_after(NOON) == datetime.fromisoformat(expected)


def test_an_occurrence_does_not_repeat() -> None:
    """The next occurrence after an occurrence is a later one."""
    assert Schedule.parse("0 0 12 * * *").next_after(NOON) == NOON + timedelta(days=1)


def _values(first: int, last: int) -> st.SearchStrategy[str]:
    number = st.integers(first, last)
    ranges = st.tuples(number, number).map(lambda ends: f"{min(ends)}-{max(ends)}")
    steps = st.integers(1, last).map(lambda step: f"*/{step}")
    part = st.just("*") | number.map(str) | ranges | steps
    return st.lists(part, min_size=1, max_size=3).map(",".join)


@given(
    st.tuples(_values(0, 59), _values(0, 59), _values(0, 23), _values(1, 28)),
    _values(1, 12),
    MOMENTS,
)
def test_the_next_occurrence_is_the_first_match(
    times: tuple[str, ...], month: str, moment: datetime
) -> None:
    """It is later, matches every field, and is also the next one after any earlier moment."""
    schedule = Schedule.parse(" ".join([*times, month, "*"]))

    found = schedule.next_after(moment)

    assert found > moment
    assert found.second in schedule.seconds
    assert found.minute in schedule.minutes
    assert found.hour in schedule.hours
    assert found.day in schedule.days
    assert found.month in schedule.months
    assert schedule.next_after(max(moment, found - timedelta(seconds=1))) == found
    assert schedule.next_after(moment + (found - moment) / 2) == found


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * * *",
        "* * * * * * *",
        "60 * * * * *",
        "* * 24 * * *",
        "* * * 0 * *",
        "* * * * 13 *",
        "* * * * * 7",
        "*/0 * * * * *",
        "*/x * * * * *",
        "1/ * * * * *",
        "5-1 * * * * *",
        "1,,2 * * * * *",
        "-1 * * * * *",
        "x * * * * *",
        "* * * * ja *",
        "* * * * mon *",
        "01:00:00",
        "0 0 0 31 2 *",
        "² * * * * *",
    ],
)
def test_an_invalid_schedule_is_rejected(expression: str) -> None:
    """The error occurs at start, not when the timer should fire."""
    with pytest.raises(ScheduleError):
        Schedule.parse(expression)
