"""The runbook that restores one deleted identity, or all that were deleted since a time."""

import asyncio
import json
import re
from datetime import UTC, datetime

from tests.runbooks.operator import Operator
from tests.runbooks.page import section
from tests.support.client import Client, Control, until

RUNBOOK = section("restore-what-was-deleted-by-mistake")
ONE = RUNBOOK.command("acsid restore ID")
ALL = RUNBOOK.command("restore.jsonl")
# The size of a page of the list.
PAGE = 100
# An exit code of acsid.
KEY_REFUSED = 5


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


async def test_without_a_list_nothing_is_restored(api: Client, operator: Operator) -> None:
    """The command fails, here with a wrong key, although the file of an earlier run is there."""
    identity_id = await api.deleted_identity()
    (operator.folder / "restore.jsonl").write_text(json.dumps({"id": identity_id}))

    await operator.run("ACSID_KEY=wrong\n" + ALL, exit_code=KEY_REFUSED)

    (await api.get(f"deleted-identities/{identity_id}")).assert_success(200)


def all_since(since: str) -> str:
    """Returns the command with this time."""
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", since, ALL)


async def next_second() -> str:
    """Waits for the next second, and returns it in the format of the runbook."""
    before = datetime.now(UTC).replace(microsecond=0)

    async def has_begun() -> bool:
        return datetime.now(UTC).replace(microsecond=0) > before

    await until(has_begun)
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
