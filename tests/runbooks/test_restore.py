"""Restoring one deleted identity, and all that were deleted since a time."""

import asyncio
import re
from datetime import UTC, datetime

from tests.end_to_end.client import Api, Control, until
from tests.runbooks.operator import Operator
from tests.runbooks.page import section

RUNBOOK = section("Restore what was deleted by mistake")
ALL = RUNBOOK.command("since=")
# What one page of the list holds.
PAGE = 100


async def test_one_gives_tokens_again(api: Api, operator: Operator, control: Control) -> None:
    """200; the tokens there were stay revoked."""
    identity_id = await api.new_identity()
    old = await api.new_token(identity_id)
    await api.delete(f"identities/{identity_id}")

    outcome = await operator.runs(RUNBOOK.command("ID/restore"), ID=identity_id)

    assert outcome.statuses == [200]
    assert await control.fate(await api.new_token(identity_id)) == "works"
    assert await control.fate(old) == "revoked"


async def test_all_since_a_second_are_restored_and_no_others(api: Api, operator: Operator) -> None:
    """Over several pages, and from the very beginning of that second."""
    earlier = await asyncio.gather(*(api.deleted_identity() for _ in range(PAGE)))
    since = await next_second()
    mistaken = [await api.deleted_identity() for _ in range(3)]
    pages = [page async for page in api.pages("deleted-identities")]
    assert len(pages) > 1

    outcome = await operator.runs(all_since(since))

    assert outcome.statuses == [200] * (len(pages) + len(mistaken))
    assert set(earlier) <= set(await api.all_ids("deleted-identities"))
    for identity_id in mistaken:
        await api.new_token(identity_id)


async def test_what_was_restored_an_earlier_time_is_left_alone(
    api: Api, operator: Operator
) -> None:
    """Whoever deletes it anew means it: a list of then does not bring it back."""
    since = await next_second()
    identity_id = await api.deleted_identity()
    await operator.runs(all_since(since))
    await api.new_token(identity_id)
    (await api.delete(f"identities/{identity_id}")).assert_success(202)

    await operator.runs(all_since(await next_second()))

    assert not await api.is_gone(identity_id)


async def test_a_list_that_breaks_off_restores_nobody_and_says_so(
    api: Api, operator: Operator
) -> None:
    """Nobody takes the first pages for all of them."""
    since = await next_second()
    identity_id = await api.deleted_identity()

    outcome = await operator.types('key="x-functions-key: wrong"\n' + all_since(since))

    assert (outcome.statuses, outcome.output) == ([401], "Not all: run it again.\n")
    assert not await api.is_gone(identity_id)


def all_since(since: str) -> str:
    """The command, with this time in place of the one that stands there."""
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", since, ALL)


async def next_second() -> str:
    """The second that begins now, as the runbook writes a time."""
    before = datetime.now(UTC).replace(microsecond=0)

    async def has_begun() -> bool:
        return datetime.now(UTC).replace(microsecond=0) > before

    await until(has_begun)
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
