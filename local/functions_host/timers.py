"""Runs timer functions when they are due, each never more than once at a time."""

import asyncio
from datetime import UTC, datetime

import azure.functions as func

from local.functions_host.functions import TimerFunction
from local.functions_host.invocations import Invoker, no_result

# A sleep that spans a suspended laptop or a clock that was set would end at the wrong time.
_LONGEST_SLEEP = 30.0


class OnTime(func.TimerRequest):
    """What a timer function gets when it runs on time, or by hand."""

    def __init__(self) -> None:
        # azure-functions 1.x has an abstract class here, without a constructor of its own.
        pass

    @property
    def past_due(self) -> bool:
        """Never: while the host is down nothing is missed, for each start is a clean slate."""
        return False


async def run_on_schedule(function: TimerFunction, invoker: Invoker) -> None:
    """Run a timer function at each of its moments for ever; those that pass meanwhile are left out.

    Raises:
        ScheduleError: no further occurrence.
    """
    due = function.schedule.next_after(datetime.now(UTC))
    while True:
        await _until(due)
        await invoker.start(function.code, OnTime(), no_result)
        due = function.schedule.next_after(max(due, datetime.now(UTC)))


async def _until(moment: datetime) -> None:
    while (left := (moment - datetime.now(UTC)).total_seconds()) > 0:  # noqa: ASYNC110 -- clocks have no events
        await asyncio.sleep(min(left, _LONGEST_SLEEP))
