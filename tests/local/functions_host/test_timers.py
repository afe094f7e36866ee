"""Facts about timer schedules."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.functions.timer import TimerRequest
from hypothesis import given
from hypothesis import strategies as st

from local.functions_host.timers import Monitor, Schedule, ScheduleError, Timer

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


class Runs:
    """The values that a timer function received. It ends the timer after the last one."""

    def __init__(self, count: int) -> None:
        self.received: list[TimerRequest] = []
        self._count = count

    async def __call__(self, value: TimerRequest) -> None:
        """Records one run."""
        self.received.append(value)
        if len(self.received) == self._count:
            raise EndOfTestError


class EndOfTestError(Exception):
    """Ends a timer."""


def timer(monitor: Monitor, schedule: str = "0 0 0 1 1 *", *, is_monitored: bool = True) -> Timer:
    """A timer with this schedule."""
    return Timer("sweep", Schedule.parse(schedule), monitor, is_monitored=is_monitored)


async def test_a_missed_run_is_made_up_for_at_once(tmp_path: Path) -> None:
    """It is past due, and knows the run before. The status is kept in the folder."""
    Monitor(tmp_path).update("sweep", NOON, NOON + timedelta(days=1))
    runs = Runs(1)

    with pytest.raises(EndOfTestError):
        await timer(Monitor(tmp_path)).run_on_schedule(runs)

    [value] = runs.received
    assert value.past_due is True
    assert value.schedule_status == {
        "Last": "2025-01-01T12:00:00+00:00",
        "Next": "2025-01-02T12:00:00+00:00",
        "LastUpdated": "2025-01-01T12:00:00+00:00",
    }


async def test_a_timer_that_has_never_run_is_not_past_due() -> None:
    """It has a status as soon as it waits for its first run."""
    monitor = Monitor()
    waiting = asyncio.create_task(timer(monitor).run_on_schedule(Runs(1)))
    await asyncio.sleep(0)

    value = timer(monitor).request()

    waiting.cancel()
    assert value.past_due is False
    assert value.schedule_status["Last"] == "0001-01-01T00:00:00"
    assert value.schedule_status["Next"].endswith("-01-01T00:00:00+00:00")


@pytest.mark.parametrize(
    ("schedule", "is_monitored"), [("*/59 * * * * *", True), ("0 0 0 1 1 *", False)]
)
async def test_a_timer_without_monitor_has_no_status(schedule: str, is_monitored: bool) -> None:
    """The host monitors schedules of a minute and more, unless the binding says otherwise."""
    monitor = Monitor()
    monitor.update("sweep", NOON, NOON)

    value = timer(monitor, schedule, is_monitored=is_monitored).request()

    assert (value.past_due, value.schedule_status) == (False, {})


async def test_a_timer_can_run_at_the_start() -> None:
    """This is the binding's `runOnStartup`. The run is not past due."""
    runs = Runs(1)

    with pytest.raises(EndOfTestError):
        await timer(Monitor()).run_on_schedule(runs, at_start=True)

    assert [value.past_due for value in runs.received] == [False]


async def test_each_run_updates_the_status() -> None:
    """The second run knows the first one."""
    runs, monitor = Runs(2), Monitor()
    every_second = timer(monitor, "* * * * * *")
    every_second._is_monitored = True  # a test cannot wait for minutes

    with pytest.raises(EndOfTestError):
        await every_second.run_on_schedule(runs)

    first, second = (value.schedule_status for value in runs.received)
    assert second["Last"] == first["Next"]
    assert second["Next"] > second["Last"]
