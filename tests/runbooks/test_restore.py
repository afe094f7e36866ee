"""The runbook that restores one deleted identity, or all that were deleted since a time."""

import asyncio
import json
import re
from datetime import UTC, datetime

from tests.runbooks.operator import Operator
from tests.runbooks.page import section
from tests.support.client import Client, Control, Me, until

RUNBOOK = section("restore-what-was-deleted-by-mistake")
ONE = RUNBOOK.command("acsid restore ID")
LOOK = RUNBOOK.command("restore.jsonl --dry-run")
ALL = RUNBOOK.command("restore.jsonl --yes")
# The size of a page of the list.
PAGE = 100
# Exit codes of acsid.
USAGE, KEY_REFUSED = 2, 5


async def test_a_restored_identity_yields_tokens(
    api: Client, operator: Operator, control: Control
) -> None:
    """Tokens from before the deletion stay revoked."""
    identity_id = await api.new_identity()
    old = await api.new_token(identity_id)
    await api.delete(f"identities/{identity_id}")

    await operator.run(ONE, ID=identity_id)

    assert await control.token_state(await api.new_token(identity_id)) == "valid"
    assert await control.token_state(old) == "revoked"


async def test_everything_deleted_since_a_second_is_restored(
    api: Client, operator: Operator
) -> None:
    """This reads several pages, includes that second, and restores nothing deleted earlier."""
    earlier = await asyncio.gather(*(api.deleted_identity() for _ in range(PAGE)))
    since = await next_second()
    mistaken = [await api.deleted_identity() for _ in range(3)]
    pages = [page async for page in api.pages("deleted-identities")]
    assert len(pages) > 1

    await operator.run(all_since(since))

    assert set(earlier) <= set(await api.all_ids("deleted-identities"))
    for identity_id in mistaken:
        await api.new_token(identity_id)


async def test_an_identity_deleted_again_is_not_restored(api: Client, operator: Operator) -> None:
    """The list of an earlier run is not used again."""
    since = await next_second()
    identity_id = await api.deleted_identity()
    await operator.run(all_since(since))
    await api.new_token(identity_id)
    (await api.delete(f"identities/{identity_id}")).assert_success(202)

    await operator.run(all_since(await next_second()))

    assert not await api.is_gone(identity_id)


async def test_people_who_deleted_themselves_stay_deleted(
    api: Client, me: Me, operator: Operator
) -> None:
    """Only what a service deleted comes back, also if somebody adds others to the list."""
    since = await next_second()
    await api.deleted_identity()
    own = (await me.issue()).assert_success()["id"]
    (await me.remove()).assert_success(202)

    await operator.run(since_then(since))
    listed = (operator.folder / "restore.jsonl").read_text()
    (operator.folder / "restore.jsonl").write_text(json.dumps({"id": own}))
    await operator.run(ALL)

    assert own not in listed
    (await api.get(f"deleted-identities/{own}")).assert_success(200)


async def test_looking_restores_nothing(api: Client, operator: Operator) -> None:
    """The first command shows how many would be restored."""
    since = await next_second()
    identity_id = await api.deleted_identity()

    outcome = await operator.run(since_then(since))

    assert outcome.output.startswith("Dry run: Restore 1 identity, and leave out 0 that users")
    assert not await api.is_gone(identity_id)


async def test_without_a_list_nothing_is_restored(api: Client, operator: Operator) -> None:
    """If the list cannot be read, here with a wrong key, that of an earlier run is not used."""
    identity_id = await api.deleted_identity()
    (operator.folder / "restore.jsonl").write_text(json.dumps({"id": identity_id}))

    await operator.run("ACSID_KEY=wrong\n" + LOOK, exit_code=KEY_REFUSED)
    await operator.run(ALL, exit_code=USAGE)

    (await api.get(f"deleted-identities/{identity_id}")).assert_success(200)


def since_then(since: str) -> str:
    """Returns the first command with this time."""
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", since, LOOK)


def all_since(since: str) -> str:
    """Returns both commands with this time."""
    return since_then(since) + ALL


async def next_second() -> str:
    """Waits for the next second, and returns it in the format of the runbook."""
    before = datetime.now(UTC).replace(microsecond=0)

    async def has_begun() -> bool:
        return datetime.now(UTC).replace(microsecond=0) > before

    await until(has_begun)
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
