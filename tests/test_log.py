"""The log: lines that a query can read, each with its invocation and its costs."""

import asyncio
import gc
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from identity_service.log import (
    EventLog,
    Invocation,
    begin_invocation,
    current_invocation,
    line,
    request_sent,
    restrain_libraries,
)

events = EventLog(__name__)

SECRET = "pass-w0rd"
WITH_SECRET = f"http://user:{SECRET}@proxy"
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


async def test_lines_have_the_caller_from_then_on(caplog: pytest.LogCaptureFixture) -> None:
    """Every line has the caller once it is known, in every task of the invocation."""

    async def step() -> None:
        events.warning("step")

    async def invoke() -> None:
        invocation = begin_invocation("one")
        await step()
        invocation.caller = "key"
        await asyncio.create_task(step())

    await asyncio.create_task(invoke())
    events.warning("outside")

    assert caplog.messages == [
        "step invocation_id=one",
        "step caller=key invocation_id=one",
        "outside",
    ]


async def test_dropped_lines_are_replayed(caplog: pytest.LogCaptureFixture) -> None:
    """The host drops lines after the response, so the next invocation logs them again, once.

    They keep their invocation and its caller, but have no attributes, so that handlers do not count
    the event twice.
    """

    async def responded() -> None:
        begin_invocation("one", "user").is_over = True
        events.warning("late", ValueError("the reason"))

    async def following() -> None:
        begin_invocation("two")
        events.warning("early")
        events.warning("later")

    await asyncio.create_task(responded())
    events.warning("outside")
    await asyncio.create_task(following())

    assert [message.partition("\n")[0] for message in caplog.messages] == [
        "late caller=user invocation_id=one",
        "outside",
        "early invocation_id=two",
        "late caller=user invocation_id=one replayed=true",
        "later invocation_id=two",
    ]
    named = [getattr(record, "event", None) for record in caplog.records]
    assert named == ["late", "outside", "early", None, "later"]
    assert caplog.text.count("ValueError: the reason") == 2
    assert caplog.records[3].levelname == "WARNING"


async def test_secrets_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Secrets are in no text, traceback, attribute and replayed line of an event."""

    async def responded() -> None:
        begin_invocation("one").is_over = True
        events.error("failed", ValueError(WITH_SECRET), reason=WITH_SECRET)

    async def following() -> None:
        begin_invocation("two")
        events.warning("next")

    await asyncio.create_task(responded())
    await asyncio.create_task(following())

    assert len(caplog.records) == 3
    assert caplog.text.count("http://***@proxy") == 4
    assert SECRET not in repr([vars(record) for record in caplog.records])


# What libraries log


@pytest.fixture
def library(caplog: pytest.LogCaptureFixture) -> Iterator[logging.Logger]:
    """The logger of a library in a process with restrained libraries."""
    caplog.set_level(logging.DEBUG)
    create = logging.getLogRecordFactory()
    restrain_libraries()
    yield logging.getLogger("a.library")
    logging.setLogRecordFactory(create)


def log_message(library: logging.Logger) -> None:
    """A secret in the message."""
    library.debug(f"cannot connect to {WITH_SECRET}")


def log_argument(library: logging.Logger) -> None:
    """A secret in an argument."""
    library.info("cannot connect to %s, attempt %d", WITH_SECRET, 2)


def log_object(library: logging.Logger) -> None:
    """A secret in the text of an object."""
    library.warning(ValueError(WITH_SECRET))


def log_exception(library: logging.Logger) -> None:
    """A secret in an exception and in its cause."""
    try:
        int(WITH_SECRET)
    except ValueError as error:
        failed = KeyError(WITH_SECRET)
        failed.__cause__ = error
        library.error("cannot connect", exc_info=failed)


def log_invalid_arguments(library: logging.Logger) -> None:
    """Arguments that do not fit the message."""
    library.error("no place", WITH_SECRET)


async def log_unretrieved(_: logging.Logger) -> None:
    """An exception that no code retrieves: asyncio logs it."""

    async def fail() -> None:
        raise ValueError(WITH_SECRET)

    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    del task
    gc.collect()


@pytest.mark.parametrize(
    "log",
    [
        log_message,
        log_argument,
        log_object,
        log_exception,
        log_invalid_arguments,
        log_unretrieved,
    ],
)
async def test_libraries_log_no_secrets(
    library: logging.Logger, caplog: pytest.LogCaptureFixture, log: Callable[..., Any]
) -> None:
    """A record has no secret and no object with one: handlers may export what they find in it."""
    result = log(library)
    if result:
        await result

    [record] = [each for each in caplog.records if each.name in (library.name, "asyncio")]
    assert "***@proxy" in caplog.text
    assert SECRET not in caplog.text + repr(vars(record))


def test_library_may_log_anything_else(
    library: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    """Other texts and values stay as they are, and a record has its own attributes."""
    library.warning("%d of %s", 3, "a/b@c", extra={"key": [1]})

    assert caplog.messages == ["3 of a/b@c"]
    assert vars(caplog.records[0])["key"] == [1]


def test_records_are_scrubbed_once(library: logging.Logger) -> None:
    """Each worker does it once, and keeps the factory of records that it finds."""
    factory = logging.getLogRecordFactory()
    restrain_libraries()

    assert logging.getLogRecordFactory() is factory
    assert library


# Times


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, which a test sets."""
    now = [100.0]
    monkeypatch.setattr("identity_service.log.time.perf_counter", lambda: now[0])
    return now


def costs(invocation: Invocation) -> tuple[int, int]:
    """The milliseconds in ACS, and those of waiting for the credential."""
    return invocation.acs.milliseconds, invocation.credential.milliseconds


async def test_waiting_for_the_credential_is_not_time_in_acs(clock: list[float]) -> None:
    """ACS is measured from the first request on, a repeated one included."""
    invocation = Invocation("one")

    with invocation.acs_call() as call:
        clock[0] += 2
        assert (call.is_sent, *costs(invocation)) == (False, 0, 2000)
        request_sent()
        clock[0] += 3
        assert (call.is_sent, *costs(invocation)) == (True, 3000, 2000)
        request_sent()
        clock[0] += 1
    clock[0] += 60

    assert costs(invocation) == (4000, 2000)


async def test_failed_call_costs_what_it_took(clock: list[float]) -> None:
    """After a call that failed before or after its request, no time is added."""
    invocation = Invocation("one")
    for is_sent in (False, True):
        with suppress(ValueError), invocation.acs_call():
            if is_sent:
                request_sent()
            clock[0] += 1
            raise ValueError
        clock[0] += 60

    assert costs(invocation) == (1000, 1000)


async def test_concurrent_calls_add_up(clock: list[float]) -> None:
    """Each call is measured for itself. The end of one call does not end the other one."""
    invocation = Invocation("one")
    both_sent = asyncio.Barrier(2)

    async def call() -> None:
        with invocation.acs_call():
            request_sent()
            await both_sent.wait()

    calls = [asyncio.create_task(call())]
    await asyncio.sleep(0)
    clock[0] += 1
    calls.append(asyncio.create_task(call()))
    await asyncio.gather(*calls)
    with invocation.acs_call():
        clock[0] += 5

    assert costs(invocation) == (1000, 5000)


def test_request_without_a_call_is_not_measured() -> None:
    """Requests of other clients are not counted."""
    invocation = Invocation("one")
    request_sent()

    assert costs(invocation) == (0, 0)
