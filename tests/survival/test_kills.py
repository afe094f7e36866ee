"""A process is killed or suspended at any remote call. A sweep repairs what it leaves behind."""

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import TypeVar
from uuid import uuid4

import pytest

from tests.support.client import Control
from tests.survival.processes import Workers
from tests.survival.records import (
    SETTLED,
    MakeRow,
    Records,
    active,
    creating,
    deleted,
    due,
    made_up_id,
    marked,
    purging,
)
from tests.survival.worker import Interruption, Moment, Swept, Task

T = TypeVar("T")

# Cases that run at once.
AT_ONCE = 4
SUSPENDED = 40

# Writes the initial records into a table and returns the task.
SetUp = Callable[[Records, str], Awaitable[Task]]


@dataclass(frozen=True)
class Case:
    """An operation that is killed at each of its remote calls.

    Attributes:
        orphans: How many of its kills leave an identity in ACS without a row. For identities that
            the operation creates these are kills before the next call; for existing ones that the
            registry does not know, kills before the first write.
        dangling: How many of its kills leave a user row dangling that was so before.
        keeps: Whether the task's identity must not be purged.
        own_table: Whether every kill has its own table.
    """

    set_up: SetUp
    orphans: int = 0
    dangling: int = 0
    keeps: bool = False
    own_table: bool = False


def new_user() -> str:
    """Return the id of a new user."""
    return f"user-{uuid4()}"


def create(operation: str = "create", *, with_user: bool = False) -> SetUp:
    """Create an identity, for a user who has none if `with_user`."""

    async def set_up(_: Records, table: str) -> Task:
        return Task(operation=operation, table=table, user_id=new_user() if with_user else None)

    return set_up


async def create_for_user_with_dangling_row(records: Records, table: str) -> Task:
    """Create an identity for a user whose row names an identity without a row."""
    user_id = new_user()
    await records.write_user_row(table, user_id, made_up_id())
    return Task(operation="create", table=table, user_id=user_id)


async def create_for_user_again(records: Records, table: str) -> Task:
    """Create an identity for a user whose earlier creation was interrupted."""
    [identity_id] = await records.create_identities(1)
    user_id = new_user()
    await records.write(table, [creating(identity_id, user_id)])
    return Task(operation="create with token", table=table, user_id=user_id)


async def delete_unregistered(records: Records, table: str) -> Task:
    """Delete an identity that is in ACS but not in the registry."""
    [identity_id] = await records.create_identities(1, with_token=True)
    return Task(operation="delete", table=table, identity_id=identity_id)


async def delete_missing(_: Records, table: str) -> Task:
    """Delete an identity that does not exist in ACS either."""
    return Task(operation="delete", table=table, identity_id=made_up_id())


def on(row: MakeRow, operation: str) -> SetUp:
    """Run an operation on a user's identity with this row."""

    async def set_up(records: Records, table: str) -> Task:
        [identity_id] = await records.create_identities(1, with_token=row in (active, marked))
        await records.write(table, [row(identity_id, new_user())])
        return Task(operation=operation, table=table, identity_id=identity_id)

    return set_up


async def sweep(records: Records, table: str) -> Task:
    """Sweep one identity of each due kind and two that are not due; one is revoked and kept."""
    names = iter(await records.create_identities(5))
    [kept] = await records.create_identities(1, with_token=True)
    of_users = [row(next(names), new_user()) for row in (creating, due)]
    others = [row(next(names)) for row in (purging, active, deleted)]
    await records.write(table, [*of_users, *others, marked(kept)])
    return Task(operation="sweep", table=table, identity_id=kept)


CASES = {
    "create": Case(create(), orphans=2),
    "create with token": Case(create("create with token"), orphans=2),
    "create for user": Case(create(with_user=True), orphans=2),
    "create with token for user": Case(create("create with token", with_user=True), orphans=2),
    "create for user with dangling row": Case(
        create_for_user_with_dangling_row, orphans=2, dangling=9
    ),
    "create for user again": Case(create_for_user_again),
    "issue": Case(on(active, "issue"), keeps=True),
    "delete": Case(on(active, "delete"), keeps=True),
    "delete again": Case(on(marked, "delete"), keeps=True),
    "delete unregistered": Case(delete_unregistered, orphans=3, keeps=True),
    "delete missing": Case(delete_missing),
    "restore": Case(on(deleted, "restore"), keeps=True),
    "restore unrevoked": Case(on(marked, "restore"), keeps=True),
    "purge": Case(on(deleted, "purge")),
    "sweep": Case(sweep, keeps=True, own_table=True),
}


@pytest.mark.parametrize("name", CASES)
async def test_killed_at_every_call(name: str, records: Records, workers: Workers) -> None:
    """After one sweep registry and ACS agree, except on identities killed before any record."""
    case = CASES[name]
    shared = await records.new_table()
    complete = await workers.run(await case.set_up(records, shared))

    async def kill(number: int, moment: Moment) -> Task:
        table = await records.new_table() if case.own_table else shared
        task = await case.set_up(records, table)
        killed_at = await workers.kill(task, Interruption(SIGKILL, number, moment))
        assert case.own_table or killed_at == complete.calls[number - 1]
        return task

    numbers = range(1, len(complete.calls) + 1)
    killed = await few_at_once(kill(*each) for each in itertools.product(numbers, Moment))
    tables = {shared, *(task.table for task in killed)}
    await few_at_once(
        workers.run(Task(operation="sweep", table=table, ahead=SETTLED)) for table in tables
    )

    snapshot = await records.snapshot(*tables)
    assert snapshot.inconsistencies() == []
    assert len(snapshot.dangling) == case.dangling
    assert len(snapshot.orphans) == case.orphans
    assert not case.keeps or {task.identity_id for task in killed} <= snapshot.alive.keys()


@pytest.mark.parametrize("operation", ["create", "create with token"])
async def test_retry_after_a_kill(operation: str, records: Records, workers: Workers) -> None:
    """A retry right after a kill, before any sweep, gives the user one identity for good."""
    table = await records.new_table()
    set_up = create(operation, with_user=True)
    complete = await workers.run(await set_up(records, table))

    async def kill_and_retry(number: int, moment: Moment) -> str | None:
        task = await set_up(records, table)
        await workers.kill(task, Interruption(SIGKILL, number, moment))
        return (await workers.run(task)).problem

    numbers = range(1, len(complete.calls) + 1)
    problems = await few_at_once(
        kill_and_retry(*each) for each in itertools.product(numbers, Moment)
    )
    await workers.run(Task(operation="sweep", table=table, ahead=SETTLED))

    assert set(problems) == {None}
    snapshot = await records.snapshot(table)
    assert snapshot.inconsistencies() == []
    assert len(snapshot.user_rows) == len(snapshot.rows) == len(problems) + 1
    assert len(snapshot.orphans) == 2


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("call", ["due_entries", "read", "update", "acs.delete", "remove"])
async def test_suspended_while_another_sweeps(
    call: str, moment: Moment, records: Records, workers: Workers, control: Control
) -> None:
    """When it continues after another sweep, all is purged and no purge is counted twice."""
    table = await records.new_table()
    names = await records.create_identities(SUSPENDED)
    await records.write(table, map(due, names))
    task = Task(operation="sweep", table=table)
    interruption = Interruption(SIGSTOP, SUSPENDED // 2, moment, call)

    async with workers.working(task, interruption) as suspended:
        process = await suspended.suspended_pid()
        second = await workers.run(task)
        os.kill(process, SIGCONT)
        first = await suspended.result()
    third = await workers.run(Task(operation="sweep", table=table, ahead=SETTLED))

    reports = [done.swept for done in (first, second, third) if done.swept]
    assert_each_reported_once(SUSPENDED, reports)
    snapshot = await records.snapshot(table)
    assert (snapshot.rows, snapshot.due, snapshot.alive) == ({}, set(), {})
    counts = await control.ask("GET", "counts")
    assert counts["operations"]["delete"]["effects"] == SUSPENDED


def assert_each_reported_once(number: int, reports: Iterable[Swept]) -> None:
    """Assert that no purge is reported twice, and one is missing only if its response was lost."""
    purged = sum(report.purged for report in reports)
    deferred = sum(report.deferred for report in reports)
    assert number - deferred <= purged <= number


async def few_at_once(cases: Iterable[Awaitable[T]]) -> list[T]:
    """Return the results of the cases, a few of which run at once."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(case: Awaitable[T]) -> T:
        async with slots:
            return await case

    return await asyncio.gather(*map(one, cases))
