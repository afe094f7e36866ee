"""What the app says about itself: lines that a query can read, each with its invocation."""

import asyncio
import logging
import re
from contextvars import copy_context

import pytest

from identity_service.events import Events, line
from identity_service.invocation import begin, current

events = Events(__name__)

_PAIR = re.compile(r'(\w+)=(?:"([^"]*)"|(\S+))')


def parsed(text: str) -> dict[str, str]:
    """The line as KQL's `parse-kv` reads it: pairs apart by a space, values quoted or not."""
    return {key: quoted or plain for key, quoted, plain in _PAIR.findall(text)}


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
        ("broken\nline\tapart", '"broken line apart"'),
        (" ", '""'),
    ],
)
def test_value(value: object, text: str) -> None:
    """Every value stays in one piece, in one line."""
    assert line("event", {"key": value}) == f"event key={text}"


@pytest.mark.parametrize(
    "values",
    [
        {"status": "200", "code": "ok"},
        {"reason": "no = between, nothing else", "status": "503"},
        {"reason": "forged status=200", "status": "503"},
    ],
)
def test_line_is_read_back(values: dict[str, object]) -> None:
    """What was said comes out of the line again, and nothing forged."""
    assert parsed(line("event", values)) == values


def test_event_names_its_invocation(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever says it, for the invocation that runs."""

    def invocation() -> None:
        begin("one")
        events.error("identity_lost", identity_id="8:acs:1")

    copy_context().run(invocation)

    assert caplog.messages == ["identity_lost identity_id=8:acs:1 invocation_id=one"]


async def test_what_the_host_does_not_hear_is_said_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Beside the next line of an invocation that has no answer yet, once, and named as its own."""

    async def answered() -> None:
        begin("one").is_over = True
        events.warning("late")

    async def another() -> None:
        begin("two")
        events.warning("early")
        events.warning("later")

    await asyncio.create_task(answered())
    events.warning("outside")
    await asyncio.create_task(another())

    assert caplog.messages == [
        "late invocation_id=one",
        "outside",
        "early invocation_id=two",
        "late invocation_id=one said_again=true",
        "later invocation_id=two",
    ]


async def test_what_is_said_again_is_not_counted_again(caplog: pytest.LogCaptureFixture) -> None:
    """Handlers know an event by its attribute; the traceback is there both times."""

    async def answered() -> None:
        begin("one").is_over = True
        events.warning("late", ValueError("the reason"))

    async def another() -> None:
        begin("two")
        events.warning("early")

    await asyncio.create_task(answered())
    await asyncio.create_task(another())

    assert [getattr(record, "event", None) for record in caplog.records] == ["late", "early", None]
    assert caplog.text.count("ValueError: the reason") == 2


async def test_tasks_work_for_the_invocation_that_started_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Two at once are told apart."""
    caplog.set_level(logging.INFO)

    async def invocation(name: str) -> None:
        begin(name)
        await asyncio.gather(*(step() for _ in range(2)))

    async def step() -> None:
        await asyncio.sleep(0)
        events.info("step")

    await asyncio.gather(invocation("one"), invocation("two"))

    assert sorted(caplog.messages) == [
        "step invocation_id=one",
        "step invocation_id=one",
        "step invocation_id=two",
        "step invocation_id=two",
    ]


async def test_tasks_add_up_what_their_invocation_costs() -> None:
    """What a task notes, its invocation knows."""

    async def call() -> None:
        current().throttles += 1

    async def invocation() -> int:
        begun = begin("one")
        await asyncio.gather(call(), call())
        return begun.throttles

    assert await asyncio.create_task(invocation()) == 2


def test_event_is_said_where_it_happened(caplog: pytest.LogCaptureFixture) -> None:
    """The record points to the line of who said it."""
    events.warning("here")

    assert caplog.records[0].funcName == "test_event_is_said_where_it_happened"


def test_values_are_there_for_handlers(caplog: pytest.LogCaptureFixture) -> None:
    """As they were given, not as text."""
    events.warning("here", backlog=3)

    record = vars(caplog.records[0])
    assert (record["event"], record["backlog"]) == ("here", 3)


def test_traceback_follows(caplog: pytest.LogCaptureFixture) -> None:
    """Of an error that nobody expected, where it came from."""
    try:
        int("unexpected")
    except ValueError as error:
        events.error("internal_error", error, operation="create_identity")

    assert "ValueError: invalid literal for int() with base 10: 'unexpected'" in caplog.text


def test_quiet_below_the_level(caplog: pytest.LogCaptureFixture) -> None:
    """What nobody wants to read is not said."""
    caplog.set_level(logging.ERROR)

    events.info("here")

    assert caplog.records == []
