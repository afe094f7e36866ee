"""import_identities: registers up to 100 identities, each with its own result."""

import asyncio

import msgspec
import pytest

from identity_service.identity import State
from identity_service.limits import DEADLINE, Verifications
from identity_service.operations.imports import CONCURRENCY, RESPOND, START_NONE
from identity_service.operations.registration import import_identities
from identity_service.resource import ResourceGuard
from identity_service.schemas import ImportIdentitiesRequest, ImportRecordRequest, ImportResult
from tests.http.edge import content, memory_services, request, serve
from tests.support.memory import UNKNOWN
from tests.support.world import ACS_IS_DOWN, World


async def imported(world: World, *records: tuple[str, str | None]) -> list[ImportResult]:
    """The results of an import."""
    body = ImportIdentitiesRequest(
        identities=[
            ImportRecordRequest(id=identity_id, user_id=user_id) for identity_id, user_id in records
        ]
    )
    return (await import_identities(body, world.lifecycle, world.verifications)).results


async def codes(world: World, *records: tuple[str, str | None]) -> list[str]:
    """The results without their details."""
    return [one.result for one in await imported(world, *records)]


async def test_hundred_records(world: World) -> None:
    """The results are in the order of the records. Repeating the import changes nothing."""
    records = [(world.acs.add(), f"user-{number}") for number in range(100)]
    first, second = await imported(world, *records), await imported(world, *records)

    assert [(one.id, one.result) for one in first] == [(id_, "registered") for id_, _ in records]
    assert {one.result for one in second} == {"unchanged"}
    assert world.user_rows() == {user: id_ for id_, user in records}


async def test_partial_success(world: World) -> None:
    """A record that is refused has its problem code, and the others are registered."""
    taken = await world.active("alice")
    results = await imported(
        world,
        (world.acs.add(), None),
        ("8:orgid:alice", None),
        (UNKNOWN, "bob"),
        (world.acs.add(), "alice"),
        (world.acs.add(), " carol"),
        (taken, "dave"),
        (await world.deleted(), None),
        (world.acs.add(), "erin"),
    )

    assert [one.result for one in results] == [
        "registered",
        "invalid_identity_id",
        "identity_not_found",
        "user_has_identity",
        "invalid_body",
        "user_mismatch",
        "identity_deleted",
        "registered",
    ]
    assert [one.field for one in results[1:5]] == ["id", None, None, "userId"]
    assert results[3].identity_id == taken
    assert "POST teams/token" in (results[1].detail or "")


@pytest.mark.parametrize(
    ("identity_id", "user_id", "code"),
    [("8" * 257, None, "invalid_identity_id"), (UNKNOWN, "a" * 257, "invalid_body")],
    ids=["id", "user id"],
)
async def test_too_long_text(
    world: World, identity_id: str, user_id: str | None, code: str
) -> None:
    """An id or a user id that is too long refuses its record only."""
    records = [
        {"id": identity_id, "userId": user_id},
        {"id": world.acs.add(), "userId": "a" * 256},
    ]
    body = msgspec.json.encode({"identities": records})
    response = await serve(request(body=body), import_identities, memory_services(world))

    assert [one["result"] for one in content(response)["results"]] == [code, "registered"]


async def test_refused_record_in_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A refused record is one line with its id and the code. Text that is no id is not logged."""
    caplog.set_level("INFO")
    await imported(world, (UNKNOWN, "alice"), ("no-id", "alice"))

    assert f"registration_refused identity_id={UNKNOWN} code=identity_not_found" in caplog.text
    assert "no-id" not in caplog.text
    assert "alice" not in caplog.text


async def test_repeated_records(world: World) -> None:
    """Records about the same identity or the same user are registered in their order."""
    one, other = world.acs.add(), world.acs.add()

    assert await codes(
        world, (one, "alice"), (one, "alice"), (other, "alice"), (one, "bob"), (other, "bob")
    ) == ["registered", "unchanged", "user_has_identity", "user_mismatch", "registered"]


async def test_acs_fails(world: World) -> None:
    """A record for which ACS fails has that code. Repeating the import registers it."""
    records = [(world.acs.add(), "alice"), (world.acs.add(), "bob")]
    world.acs.fails("issue_token", ACS_IS_DOWN)
    first = await codes(world, *records)

    assert first == ["acs_unavailable", "registered"]
    assert await codes(world, *records) == ["registered", "unchanged"]


async def test_unexpected_error(world: World) -> None:
    """An unexpected error in one record does not end the import."""
    world.registry.fails("insert", TypeError("planned by the test"))

    assert await codes(world, (world.acs.add(), None), (world.acs.add(), None)) == [
        "internal_error",
        "registered",
    ]


async def test_time_is_up(world: World) -> None:
    """Records that are not reached in time are not attempted, and nothing is written for them."""
    world.verifications = Verifications(60)
    records = [(world.acs.add(), None) for _ in range(100)]
    started = asyncio.get_running_loop().time()
    results = await codes(world, *records)

    assert asyncio.get_running_loop().time() - started < DEADLINE
    assert set(results) == {"registered", "not_attempted"}
    assert results.count("registered") == len(world.registry.rows) > DEADLINE - START_NONE
    assert {row.state for row in world.registry.rows.values()} == {State.ACTIVE}


async def test_a_caller_gets_the_results_although_a_record_hangs(world: World) -> None:
    """They arrive before the caller's deadline, even if the check of the resource was slow."""
    services = memory_services(world)
    services.resource = ResourceGuard(world.acs, world.registry, "")
    world.registry.precede("read_resource", lambda: asyncio.sleep(3))
    world.acs.precede("issue_token", lambda: asyncio.sleep(3600), times=1)
    ids = [world.acs.add() for _ in range(3)]
    body = msgspec.json.encode({"identities": [{"id": one} for one in ids]})

    response = await serve(request(body=body), import_identities, services)

    results = [one["result"] for one in content(response)["results"]]
    assert results == ["acs_too_slow", "registered", "registered"]


async def test_acs_hangs(world: World) -> None:
    """While ACS hangs, the results arrive in time. What has started may still complete.

    The other records are not attempted.
    """
    hung = asyncio.Event()
    world.acs.precede("issue_token", hung.wait, times=100)
    records = [(world.acs.add(), None) for _ in range(20)]
    started = asyncio.get_running_loop().time()
    results = await codes(world, *records)

    assert asyncio.get_running_loop().time() - started == pytest.approx(DEADLINE - RESPOND)
    assert results == ["acs_too_slow"] * CONCURRENCY + ["not_attempted"] * (20 - CONCURRENCY)

    hung.set()
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
    assert {row.state for row in world.registry.rows.values()} == {State.ACTIVE}
    assert len(world.registry.rows) == CONCURRENCY
