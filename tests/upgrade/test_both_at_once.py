"""Both releases work on one table at the same time, as during an upgrade or a roll-back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from itertools import count
from typing import Any

import pytest

from identity_service.errors import ServiceError
from tests.support.world import RETENTION, World
from tests.upgrade.world import Interruption, Refused, Shared

# An operation, on an identity or for a user.
Operation = Callable[[Shared, str], Awaitable[Any]]

OURS: dict[str, Operation] = {
    "create": World.create_with_token,
    "delete": World.delete,
    "restore": World.restore,
    "purge": World.purge,
    "issue": World.issue,
}
CHAT = {"scopes": ["chat"]}
THEIRS: dict[str, Operation] = {
    "create": lambda world, user: world.release_1.call(
        "create_identity_with_token", body={**CHAT, "userId": user}
    ),
    "delete": lambda world, each: world.release_1.call("delete_identity", each),
    "restore": lambda world, each: world.release_1.call("restore_identity", each),
    "purge": lambda world, each: world.release_1.call("purge_identity", each),
    "issue": lambda world, each: world.release_1.call("issue_token", each, body=CHAT),
}
STARTS: dict[str, Callable[[Shared], Awaitable[str]]] = {
    "active": World.active,
    "deleted by this release": World.deleted,
    "deleted by release 1": lambda world: world.release_1.deleted(),
    "unrevoked": World.unrevoked,
}
PAIRS = [
    ("active", "delete", "delete"),
    ("active", "delete", "issue"),
    ("active", "issue", "delete"),
    ("deleted by this release", "purge", "restore"),
    ("deleted by release 1", "restore", "purge"),
    ("deleted by release 1", "purge", "restore"),
    ("unrevoked", "delete", "restore"),
    ("unrevoked", "restore", "delete"),
]


async def interleavings(
    world: Shared,
    releases: tuple[dict[str, Operation], dict[str, Operation]],
    operations: tuple[str, str],
    start: Callable[[], Awaitable[str]],
) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Let the second operation happen before each call of the first, each time on a new subject.

    Yields the subject, and the results of those operations that have succeeded.
    """
    for step in count(1):
        subject, results = await start(), dict[str, Any]()

        async def run(number: int, subject: str = subject, results: Any = results) -> None:
            name = operations[number]
            with suppress(ServiceError, Refused):
                results[name] = await releases[number][name](world, subject)

        async def other(run: Callable[[int], Awaitable[None]] = run) -> None:
            await run(1)

        interruption = Interruption(step, other)
        if releases[0] is THEIRS:
            world.release_1.interruption = interruption
            await run(0)
        else:
            with world.interrupted(interruption):
                await run(0)
        if not interruption.happened:
            return
        yield subject, results


BOTH_WAYS = pytest.mark.parametrize(
    "releases", [(OURS, THEIRS), (THEIRS, OURS)], ids=["ours first", "theirs first"]
)


@BOTH_WAYS
@pytest.mark.parametrize(("start", "one", "other"), PAIRS)
async def test_nothing_is_lost(
    world: Shared,
    releases: tuple[dict[str, Operation], dict[str, Operation]],
    start: str,
    one: str,
    other: str,
) -> None:
    """Whichever step the other release interrupts, no row, due entry or identity is lost.

    After a successful deletion, no token is valid that was issued before it or during it.
    """
    tokens: dict[str, list[str]] = {}

    async def begin() -> str:
        identity_id = await STARTS[start](world)
        tokens[identity_id] = [(await world.issue(identity_id)).token] if start == "active" else []
        return identity_id

    async for identity_id, results in interleavings(world, releases, (one, other), begin):
        tokens[identity_id] += [token_in(results["issue"])] if "issue" in results else []
        assert "delete" not in results or not any(map(world.acs.is_valid, tokens[identity_id]))
        assert results
    world.pass_lease()
    await world.sweep()

    assert await world.damage() == []


def token_in(result: Any) -> str:
    """The token in a response of either release."""
    return str(result["token"] if isinstance(result, dict) else result.token)


def id_in(result: Any) -> str:
    """The id in a response of either release."""
    return str(result["id"] if isinstance(result, dict) else result.id)


@BOTH_WAYS
async def test_one_identity_for_a_user(
    world: Shared, releases: tuple[dict[str, Operation], dict[str, Operation]]
) -> None:
    """If both releases create the identity of a user at once, both return the same one."""
    users = (f"user {number}" for number in count())

    async def begin() -> str:
        return next(users)

    same = [
        len({id_in(result) for result in results.values()}) == 1
        async for _, results in interleavings(world, releases, ("create", "create"), begin)
    ]
    world.pass_lease()
    await world.sweep()

    assert all(same)
    assert len(same) >= 5
    assert await world.damage() == []


def user_of(identity_id: str) -> str:
    """The user for whom an identity is registered."""
    return f"user of {identity_id}"


def after_the_lease(operation: Operation) -> Operation:
    """The operation, when a registration that has begun is due."""

    async def run(world: Shared, subject: str) -> Any:
        world.pass_lease()
        return await operation(world, subject)

    return run


REGISTER: dict[str, Operation] = {
    "register": lambda world, each: world.register(each, user_of(each))
}
DURING_A_REGISTRATION: dict[str, Operation] = {
    "create": lambda world, each: THEIRS["create"](world, user_of(each)),
    "delete": THEIRS["delete"],
    "sweep": after_the_lease(lambda world, _: world.release_1.sweep()),
}


@pytest.mark.parametrize("other", DURING_A_REGISTRATION)
async def test_registration(world: Shared, other: str) -> None:
    """At every step of a registration release 1 may act: one of both wins, and nothing is lost.

    The identity stays in ACS. A deletion stays. The user gets one identity.
    """
    registered: list[str] = []

    async def begin() -> str:
        registered.append(world.acs.add())
        return registered[-1]

    releases = (REGISTER, DURING_A_REGISTRATION)
    async for identity_id, results in interleavings(world, releases, ("register", other), begin):
        if "register" in results:
            assert id_in(results.get("create", {"id": identity_id})) == identity_id
            assert "delete" not in results
        if "delete" in results:
            assert (await world.columns(identity_id))["state"] == "deleted"
    world.pass_lease()
    await world.sweep()

    assert len(registered) >= 5
    assert set(registered) <= set(world.acs.identities)
    assert set(await world.damage()) <= {f"no row: {each}" for each in registered}


async def test_two_sweeps(world: Shared) -> None:
    """Both sweeps at once finish what both releases have left, each part once."""
    for release in (world, world.release_1):
        for state in ("creating", "deleted", "unrevoked", "purging"):
            await getattr(release, state)(f"{type(release).__name__} {state}")
    world.clock.advance(RETENTION)
    world.pass_lease()
    ours, theirs = await asyncio.gather(world.sweep(), world.release_1.sweep())
    rest = await world.sweep()

    assert ours.purged + theirs["purged"] + rest.purged == 8
    assert (await world.rows(), world.acs.identities) == ({}, [])
