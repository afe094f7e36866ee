"""What a process killed or frozen at any remote call leaves behind, a sweep mends."""

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import TypeVar
from uuid import uuid4

import pytest

from identity_service.operations.steps import YOUNG
from identity_service.rows import LEASE, IdentityRow
from tests.support.client import Control
from tests.survival.forks import Workers
from tests.survival.ports import Fate, Moment
from tests.survival.registers import (
    Registers,
    active,
    creating,
    deleted,
    due,
    made_up_id,
    marked,
    purging,
)
from tests.survival.worker import Swept, Task

T = TypeVar("T")

# Cases under way at once.
AT_ONCE = 4
# Later than every lease, and than the hour in which ACS may not know an identity yet.
LATER = (YOUNG + 2 * LEASE).total_seconds()
FROZEN = 40

# Writes what is there before into a table, and gives the task.
Setting = Callable[[Registers, str], Awaitable[Task]]


@dataclass(frozen=True)
class Case:
    """An operation that is killed.

    Attributes:
        unrecorded: How many of its kills leave an identity in ACS that has no row: of the created
            ones those that died before the very next call, of those made elsewhere all that died
            before the first record.
        dangles: How many of its kills leave a claim as dangling as it was.
        keeps: The task's identity must not be purged.
        alone: Every kill has a table of its own.
    """

    setting: Setting
    unrecorded: int = 0
    dangles: int = 0
    keeps: bool = False
    alone: bool = False


def anybody() -> str:
    """A user nobody has seen before."""
    return f"user-{uuid4()}"


def create(operation: str = "create") -> Setting:
    """Create for nobody in particular."""

    async def set_up(_: Registers, table: str) -> Task:
        return Task(operation=operation, table=table)

    return set_up


def create_for_user(operation: str = "create") -> Setting:
    """Create for a user who has none."""

    async def set_up(_: Registers, table: str) -> Task:
        return Task(operation=operation, table=table, user_id=anybody())

    return set_up


async def create_for_user_of_the_gone(registers: Registers, table: str) -> Task:
    """Create for a user whose claim names an identity without a row."""
    user_id = anybody()
    await registers.claim(table, user_id, made_up_id())
    return Task(operation="create", table=table, user_id=user_id)


async def create_for_user_once_more(registers: Registers, table: str) -> Task:
    """Create for a user whose identity is half made."""
    [identity_id] = await registers.identities(1)
    user_id = anybody()
    await registers.write(table, [creating(identity_id, user_id)])
    return Task(operation="create with token", table=table, user_id=user_id)


async def delete_of_unknown(registers: Registers, table: str) -> Task:
    """Delete an identity that was made elsewhere."""
    [identity_id] = await registers.identities(1, with_token=True)
    return Task(operation="delete", table=table, identity_id=identity_id)


async def delete_of_nobody(_: Registers, table: str) -> Task:
    """Delete an identity that ACS does not know either."""
    return Task(operation="delete", table=table, identity_id=made_up_id())


def on(row: Callable[[str, str | None], IdentityRow], operation: str) -> Setting:
    """An operation on a user's identity that has this row."""

    async def set_up(registers: Registers, table: str) -> Task:
        [identity_id] = await registers.identities(1, with_token=row in (active, marked))
        await registers.write(table, [row(identity_id, anybody())])
        return Task(operation=operation, table=table, identity_id=identity_id)

    return set_up


async def sweep(registers: Registers, table: str) -> Task:
    """Sweep one of each kind that is due, and two that are not; one must be revoked and kept."""
    names = iter(await registers.identities(5))
    [kept] = await registers.identities(1, with_token=True)
    of_users = [row(next(names), anybody()) for row in (creating, due)]
    others = [row(next(names)) for row in (purging, active, deleted)]
    await registers.write(table, [*of_users, *others, marked(kept)])
    return Task(operation="sweep", table=table, identity_id=kept)


CASES = {
    "create": Case(create(), unrecorded=2),
    "create with token": Case(create("create with token"), unrecorded=2),
    "create for user": Case(create_for_user(), unrecorded=2),
    "create with token for user": Case(create_for_user("create with token"), unrecorded=2),
    "create for user of the gone": Case(create_for_user_of_the_gone, unrecorded=2, dangles=9),
    "create for user once more": Case(create_for_user_once_more),
    "issue": Case(on(active, "issue"), keeps=True),
    "delete": Case(on(active, "delete"), keeps=True),
    "delete once more": Case(on(marked, "delete"), keeps=True),
    "delete of unknown": Case(delete_of_unknown, unrecorded=3, keeps=True),
    "delete of nobody": Case(delete_of_nobody),
    "restore": Case(on(deleted, "restore"), keeps=True),
    "restore unrevoked": Case(on(marked, "restore"), keeps=True),
    "purge": Case(on(deleted, "purge")),
    "sweep": Case(sweep, keeps=True, alone=True),
}


@pytest.mark.parametrize("name", CASES)
async def test_killed_at_every_call(name: str, registers: Registers, workers: Workers) -> None:
    """One sweep later registry and ACS agree; unknown is what died before its first record."""
    case = CASES[name]
    shared = await registers.new_table()
    trial = await workers.end(await case.setting(registers, shared))

    async def kill(number: int, moment: Moment) -> Task:
        table = await registers.new_table() if case.alone else shared
        task = await case.setting(registers, table)
        died_at = await workers.die(task, Fate(SIGKILL, number, moment))
        assert case.alone or died_at == trial.calls[number - 1]
        return task

    numbers = range(1, len(trial.calls) + 1)
    killed = await few_at_once(kill(*each) for each in itertools.product(numbers, Moment))
    tables = {shared, *(task.table for task in killed)}
    await few_at_once(
        workers.end(Task(operation="sweep", table=table, ahead=LATER)) for table in tables
    )

    picture = await registers.picture(*tables)
    assert picture.disagreements() == []
    assert len(picture.dangling) == case.dangles
    assert len(picture.orphans) == case.unrecorded
    assert not case.keeps or {task.identity_id for task in killed} <= picture.alive.keys()


@pytest.mark.parametrize("operation", ["create", "create with token"])
async def test_asked_again_after_a_kill(
    operation: str, registers: Registers, workers: Workers
) -> None:
    """Without waiting for any sweep the user gets an identity, and has that one afterwards."""
    table = await registers.new_table()
    setting = create_for_user(operation)
    trial = await workers.end(await setting(registers, table))

    async def kill_and_ask_again(number: int, moment: Moment) -> str | None:
        task = await setting(registers, table)
        await workers.die(task, Fate(SIGKILL, number, moment))
        return (await workers.end(task)).problem

    numbers = range(1, len(trial.calls) + 1)
    problems = await few_at_once(
        kill_and_ask_again(*each) for each in itertools.product(numbers, Moment)
    )
    await workers.end(Task(operation="sweep", table=table, ahead=LATER))

    assert set(problems) == {None}
    picture = await registers.picture(table)
    assert picture.disagreements() == []
    assert len(picture.claims) == len(picture.rows) == len(problems) + 1
    assert len(picture.orphans) == 2


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("call", ["agenda", "read", "update", "acs.delete", "remove"])
async def test_frozen_while_another_sweeps(
    call: str, moment: Moment, registers: Registers, workers: Workers, control: Control
) -> None:
    """Everything is purged, and nothing is reported twice, when it thaws."""
    table = await registers.new_table()
    names = await registers.identities(FROZEN)
    await registers.write(table, map(due, names))
    task = Task(operation="sweep", table=table)

    async with workers.at_work(task, Fate(SIGSTOP, FROZEN // 2, moment, call)) as frozen:
        process = await frozen.freezes()
        second = await workers.end(task)
        os.kill(process, SIGCONT)
        first = await frozen.ends()
    third = await workers.end(Task(operation="sweep", table=table, ahead=LATER))

    reports = [done.swept for done in (first, second, third) if done.swept]
    assert_each_reported_once(FROZEN, reports)
    picture = await registers.picture(table)
    assert (picture.rows, picture.agenda, picture.alive) == ({}, set(), {})
    counts = await control.ask("GET", "counts")
    assert counts["operations"]["delete"]["effects"] == FROZEN


def assert_each_reported_once(number: int, reports: Iterable[Swept]) -> None:
    """No purge was reported twice; one is missing only where its answer never came."""
    purged = sum(report.purged for report in reports)
    deferred = sum(report.deferred for report in reports)
    assert number - deferred <= purged <= number


async def few_at_once(cases: Iterable[Awaitable[T]]) -> list[T]:
    """What they give, a few at a time."""
    several = asyncio.Semaphore(AT_ONCE)

    async def one(case: Awaitable[T]) -> T:
        async with several:
            return await case

    return await asyncio.gather(*map(one, cases))
