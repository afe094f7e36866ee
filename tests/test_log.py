"""The log: lines that a query can read, each with its invocation and its costs."""

import asyncio
import logging
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from identity_service.log import EventLog, Invocation, begin_invocation, current_invocation, line

events = EventLog(__name__)

_PAIR = re.compile(r'(\w+)=(?:"([^"]*)"|(\S+))')


def parsed(text: str) -> dict[str, str]:
    """The values of a line as KQL's `parse-kv` reads them."""
    return {key: quoted or plain for key, quoted, plain in _PAIR.findall(text)}


# Lines


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ok", "ok"),
        (7, "7"),
        ("8:acs:1_2", "8:acs:1_2"),
        ("", "-"),
        (None, "-"),
        (0, "0"),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "yes"', "\"say 'yes'\""),
        ("several\nlines\tand tabs", '"several lines and tabs"'),
        (" ", '""'),
    ],
)
def test_value(value: object, text: str) -> None:
    """Every value is one piece of one line."""
    assert line("event", {"key": value}) == f"event key={text}"


@pytest.mark.parametrize(
    "values",
    [
        {"status": "200", "code": "ok"},
        {"reason": "with a = only", "status": "503"},
        {"reason": "forged status=200", "status": "503"},
    ],
)
def test_line_can_be_parsed(values: dict[str, object]) -> None:
    """A query reads the values that were logged, and no value can forge another one."""
    assert parsed(line("event", values)) == values


def test_record_points_to_the_code_that_logs(caplog: pytest.LogCaptureFixture) -> None:
    """The function of the record is the one that logged the event."""
    events.warning("here")

    assert caplog.records[0].funcName == "test_record_points_to_the_code_that_logs"


def test_handlers_find_the_values(caplog: pytest.LogCaptureFixture) -> None:
    """The record has the event and its values as attributes, not as text."""
    events.warning("here", backlog=3)

    record = vars(caplog.records[0])
    assert (record["event"], record["backlog"]) == ("here", 3)


@pytest.mark.parametrize("name", ["name", "msg", "args", "message", "asctime", "taskName"])
def test_value_may_have_any_name(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A value whose name `logging` uses itself is in the message only."""
    values: dict[str, Any] = {name: "value"}
    events.warning("here", **values)

    assert caplog.messages == [f"here {name}=value"]


@pytest.mark.parametrize("log", [events.warning, events.error])
def test_traceback(log: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    """An error is logged with its traceback."""
    try:
        int("unexpected")
    except ValueError as error:
        log("internal_error", error, operation="create_identity")

    assert "ValueError: invalid literal for int() with base 10: 'unexpected'" in caplog.text


def test_level(caplog: pytest.LogCaptureFixture) -> None:
    """Events below the logger's level are not logged."""
    caplog.set_level(logging.ERROR)
    events.info("here")
    events.warning("here")
    events.error("here")

    assert [record.levelname for record in caplog.records] == ["ERROR"]


# Invocations


async def test_tasks_belong_to_the_invocation_that_started_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Lines of concurrent invocations have the id of their own one. Costs are added up."""

    async def invoke(name: str) -> int:
        invocation = begin_invocation(name)
        await asyncio.gather(*(step() for _ in range(2)))
        return invocation.throttles

    async def step() -> None:
        await asyncio.sleep(0)
        current_invocation().throttles += 1
        events.warning("step", number=1)

    throttles = await asyncio.gather(invoke("one"), invoke("two"))
    events.warning("step", number=2)

    assert list(throttles) == [2, 2]
    assert sorted(caplog.messages) == [
        "step number=1 invocation_id=one",
        "step number=1 invocation_id=one",
        "step number=1 invocation_id=two",
        "step number=1 invocation_id=two",
        "step number=2",
    ]


async def test_dropped_lines_are_replayed(caplog: pytest.LogCaptureFixture) -> None:
    """The host drops lines after the response, so the next invocation logs them again, once.

    Replayed lines have no attributes, so that handlers do not count the event twice.
    """

    async def responded() -> None:
        begin_invocation("one").is_over = True
        events.warning("late", ValueError("the reason"))

    async def following() -> None:
        begin_invocation("two")
        events.warning("early")
        events.warning("later")

    await asyncio.create_task(responded())
    events.warning("outside")
    await asyncio.create_task(following())

    assert [message.partition("\n")[0] for message in caplog.messages] == [
        "late invocation_id=one",
        "outside",
        "early invocation_id=two",
        "late invocation_id=one replayed=true",
        "later invocation_id=two",
    ]
    named = [getattr(record, "event", None) for record in caplog.records]
    assert named == ["late", "outside", "early", None, "later"]
    assert caplog.text.count("ValueError: the reason") == 2
    assert caplog.records[3].levelname == "WARNING"


def test_running_call_counts() -> None:
    """The time in ACS includes calls that are still running, for example at the deadline."""
    invocation = Invocation("one")
    assert invocation.acs_seconds == 0

    with invocation.acs_call():
        before = invocation.acs_seconds
        assert invocation.acs_seconds > before > 0


def test_finished_call_costs_what_it_took() -> None:
    """After a call, successful or not, the time does not grow any more."""
    invocation = Invocation("one")
    with suppress(ValueError), invocation.acs_call():
        within = invocation.acs_seconds
        raise ValueError
    after = invocation.acs_seconds

    assert invocation.acs_seconds == after > within


def test_concurrent_calls_add_up() -> None:
    """The end of one call does not end the other one."""
    invocation = Invocation("one")

    with invocation.acs_call():
        with invocation.acs_call():
            pass
        before = invocation.acs_seconds
        assert invocation.acs_seconds > before > 0
