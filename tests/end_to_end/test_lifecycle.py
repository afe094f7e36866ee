"""Deleted identities: no token comes out, and they can be restored until they are purged."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.communication.identity import CommunicationUserIdentifier
from azure.communication.identity.aio import CommunicationIdentityClient
from azure.core.pipeline.transport import AioHttpTransport

from tests.end_to_end.client import CHAT, Api, Control, until
from tests.end_to_end.conftest import StartApp
from tests.end_to_end.stack import Azure


@pytest.fixture
async def sdk(azure: Azure) -> AsyncIterator[CommunicationIdentityClient]:
    """Somebody else who uses the same ACS resource, with Microsoft's SDK."""
    transport = AioHttpTransport(
        connection_verify=azure.env["SSL_CERT_FILE"], use_env_settings=False
    )
    async with CommunicationIdentityClient.from_connection_string(
        azure.env["ACS_CONNECTION_STRING"], transport=transport
    ) as client:
        yield client


@pytest.fixture
async def foreign_identity(sdk: CommunicationIdentityClient) -> str:
    """The id of an identity that was made elsewhere."""
    user = await sdk.create_user()
    return str(user.properties["id"])


async def test_no_token_comes_out_after_the_deletion(api: Api) -> None:
    """409, and the way to get the identity back."""
    identity_id = await api.deleted_identity()

    reply = await api.post(f"identities/{identity_id}/tokens", CHAT)

    problem = reply.assert_problem(409, "identity_deleted")
    assert f"deleted-identities/{identity_id}/restore" in problem["detail"]


async def test_the_tokens_there_were_are_dead_after_the_deletion(
    api: Api, control: Control
) -> None:
    """Before the answer comes."""
    identity_id = await api.new_identity()
    tokens = [await api.new_token(identity_id) for _ in range(3)]

    (await api.delete(f"identities/{identity_id}")).assert_success(202)

    assert [await control.fate(token) for token in tokens] == ["revoked"] * 3


@pytest.mark.parametrize("round_", range(3))
async def test_no_token_that_was_asked_for_during_the_deletion_lives_on(
    api: Api, control: Control, round_: int
) -> None:
    """Each is handed out and dead, or not handed out."""
    identity_id = await api.new_identity()
    path = f"identities/{identity_id}/tokens"

    first = [asyncio.create_task(api.post(path, CHAT)) for _ in range(10)]
    deletion = asyncio.create_task(api.delete(f"identities/{identity_id}"))
    others = [asyncio.create_task(api.post(path, CHAT)) for _ in range(10)]
    replies = await asyncio.gather(*first, *others)
    (await deletion).assert_success(202)

    for reply in replies:
        if reply.status == 200:
            assert await control.fate(reply.json()["token"]) == "revoked"
        else:
            reply.assert_problem(409, "identity_deleted")


async def test_deleting_again_tells_the_same_dates(api: Api, hasty: Api) -> None:
    """They are fixed at the deletion, whatever the retention is by now."""
    identity_id = await api.new_identity()

    replies = [await api.delete(f"identities/{identity_id}") for _ in range(2)]
    replies.append(await hasty.delete(f"identities/{identity_id}"))

    first, second, third = [reply.assert_success(202) for reply in replies]
    assert first == second == third


async def test_deleting_many_times_at_once_is_one_deletion(api: Api) -> None:
    """All are told the same."""
    identity_id = await api.new_identity()

    replies = await asyncio.gather(*(api.delete(f"identities/{identity_id}") for _ in range(10)))

    dates = {reply.assert_success(202)["deletedOn"] for reply in replies}
    assert len(dates) == 1


async def test_a_deleted_identity_is_found_among_the_deleted_only(api: Api) -> None:
    """And the other place says where."""
    identity_id = await api.deleted_identity()

    active = await api.get(f"identities/{identity_id}")
    deleted = await api.get(f"deleted-identities/{identity_id}")

    problem = active.assert_problem(404, "identity_deleted")
    assert f"deleted-identities/{identity_id}" in problem["detail"]
    found = deleted.assert_success()
    dates = {"createdOn", "deletedOn", "scheduledPurgeOn"}
    assert found.keys() == {"id", "state", "attempts", *dates}
    assert (found["id"], found["state"], found["attempts"]) == (identity_id, "deleted", 0)


async def test_an_active_identity_is_not_among_the_deleted(api: Api) -> None:
    """It is 404 there."""
    identity_id = await api.new_identity()

    reply = await api.get(f"deleted-identities/{identity_id}")

    reply.assert_problem(404, "identity_not_found")


async def test_a_restored_identity_gives_tokens_again(api: Api, control: Control) -> None:
    """New ones: the old ones stay dead."""
    identity_id = await api.new_identity()
    old = await api.new_token(identity_id)
    await api.delete(f"identities/{identity_id}")

    reply = await api.post(f"deleted-identities/{identity_id}/restore")

    assert reply.assert_success()["id"] == identity_id
    assert await control.fate(await api.new_token(identity_id)) == "works"
    assert await control.fate(old) == "revoked"
    assert await api.is_gone(identity_id)
    (await api.get(f"identities/{identity_id}")).assert_success()


async def test_restoring_again_or_what_is_active_changes_nothing(api: Api) -> None:
    """200 each time."""
    identity_id = await api.new_identity()

    replies = [await api.post(f"deleted-identities/{identity_id}/restore") for _ in range(2)]

    assert [reply.assert_success()["id"] for reply in replies] == [identity_id] * 2


async def test_a_restored_identity_can_be_deleted_anew(api: Api) -> None:
    """With new dates."""
    identity_id = await api.new_identity()
    first = (await api.delete(f"identities/{identity_id}")).assert_success(202)
    await api.post(f"deleted-identities/{identity_id}/restore")

    second = (await api.delete(f"identities/{identity_id}")).assert_success(202)

    assert second["deletedOn"] > first["deletedOn"]
    (await api.post(f"identities/{identity_id}/tokens", CHAT)).assert_problem(
        409, "identity_deleted"
    )


async def test_purging_ends_it_at_once_and_for_ever(api: Api, control: Control) -> None:
    """In ACS and in the registry."""
    identity_id = await api.deleted_identity()

    reply = await api.delete(f"deleted-identities/{identity_id}")

    reply.assert_success(204)
    assert await control.state(identity_id) == "deleted"
    assert identity_id not in await api.all_ids("deleted-identities?maxPageSize=50")


async def test_after_the_purge_nobody_knows_it(api: Api) -> None:
    """Whatever is asked: 404."""
    identity_id = await api.deleted_identity()
    await api.delete(f"deleted-identities/{identity_id}")

    replies = [
        await api.get(f"identities/{identity_id}"),
        await api.get(f"deleted-identities/{identity_id}"),
        await api.delete(f"identities/{identity_id}"),
        await api.delete(f"deleted-identities/{identity_id}"),
        await api.post(f"deleted-identities/{identity_id}/restore"),
        await api.post(f"identities/{identity_id}/tokens", CHAT),
        await api.delete(f"identities/{identity_id}/tokens"),
    ]

    for reply in replies:
        reply.assert_problem(404, "identity_not_found")


async def test_what_is_not_deleted_cannot_be_purged(api: Api, control: Control) -> None:
    """409, and nothing happens."""
    identity_id = await api.new_identity()

    reply = await api.delete(f"deleted-identities/{identity_id}")

    reply.assert_problem(409, "identity_not_deleted")
    assert await control.state(identity_id) == "active"


async def test_a_restore_and_a_purge_at_once_agree(api: Api, control: Control) -> None:
    """One of them wins: restored and alive, or purged and gone."""
    identity_id = await api.deleted_identity()

    restore, purge = await asyncio.gather(
        api.post(f"deleted-identities/{identity_id}/restore"),
        api.delete(f"deleted-identities/{identity_id}"),
    )

    if restore.status == 200:
        purge.assert_problem(409, "identity_not_deleted")
        assert await control.state(identity_id) == "active"
    else:
        restore.assert_problem(404, "identity_not_found")
        purge.assert_success(204)
        assert await control.state(identity_id) == "deleted"


async def test_purge_protection_forbids_to_purge_and_nothing_else(
    start_app: StartApp, control: Control
) -> None:
    """403 by hand; the sweep purges what is due."""
    protected = start_app(PURGE_PROTECTION="true", DELETED_IDENTITY_RETENTION_DAYS="0")
    identity_id = await protected.deleted_identity()

    reply = await protected.delete(f"deleted-identities/{identity_id}")

    reply.assert_problem(403, "purge_protected")
    assert await control.state(identity_id) == "active"
    await protected.sweep()
    await until(lambda: protected.is_gone(identity_id))
    assert await control.state(identity_id) == "deleted"


async def test_an_identity_made_elsewhere_is_given_tokens(
    api: Api, control: Control, foreign_identity: str
) -> None:
    """The registry does not know it, and does not say that it does."""
    reply = await api.post(f"identities/{foreign_identity}/tokens", CHAT)

    assert await control.fate(reply.assert_success()["token"]) == "works"
    (await api.get(f"identities/{foreign_identity}")).assert_problem(404, "identity_not_found")


async def test_an_identity_made_elsewhere_is_deleted_and_restored_like_any_other(
    api: Api, control: Control, foreign_identity: str
) -> None:
    """From the deletion on the registry knows it."""
    token = await api.new_token(foreign_identity)

    (await api.delete(f"identities/{foreign_identity}")).assert_success(202)

    assert await control.fate(token) == "revoked"
    (await api.post(f"identities/{foreign_identity}/tokens", CHAT)).assert_problem(
        409, "identity_deleted"
    )
    (await api.get(f"deleted-identities/{foreign_identity}")).assert_success()
    (await api.post(f"deleted-identities/{foreign_identity}/restore")).assert_success()
    assert await control.fate(await api.new_token(foreign_identity)) == "works"


async def test_an_identity_made_elsewhere_is_swept_like_any_other(
    hasty: Api, control: Control, foreign_identity: str
) -> None:
    """And then it is gone in ACS too."""
    (await hasty.delete(f"identities/{foreign_identity}")).assert_success(202)

    await hasty.sweep()

    await until(lambda: hasty.is_gone(foreign_identity))
    assert await control.state(foreign_identity) == "deleted"


async def test_an_identity_that_somebody_else_deletes_in_acs_is_told_as_gone(
    api: Api, sdk: CommunicationIdentityClient, foreign_identity: str
) -> None:
    """Before and after a deletion here, which leaves nothing behind."""
    await sdk.delete_user(CommunicationUserIdentifier(foreign_identity))

    replies = [
        await api.post(f"identities/{foreign_identity}/tokens", CHAT),
        await api.delete(f"identities/{foreign_identity}"),
        await api.get(f"deleted-identities/{foreign_identity}"),
    ]

    for reply in replies:
        reply.assert_problem(404, "identity_not_found")


async def test_the_deleted_are_listed_in_the_order_of_their_purge(api: Api, hasty: Api) -> None:
    """Not in that of their deletion: what is deleted last may be purged first."""
    later = [await api.deleted_identity() for _ in range(3)]
    sooner = [await hasty.deleted_identity() for _ in range(3)]

    listed = await api.all_ids("deleted-identities")

    assert [each for each in listed if each in {*later, *sooner}] == [*sooner, *later]


@pytest.mark.parametrize("kind", ["identities", "deleted-identities"])
async def test_a_list_is_read_page_by_page(api: Api, kind: str) -> None:
    """Each page is as short as was asked for, and everything stands on exactly one."""
    make = api.new_identity if kind == "identities" else api.deleted_identity
    mine = {await make() for _ in range(7)}

    pages = [page async for page in api.pages(f"{kind}?maxPageSize=3")]

    ids = [each["id"] for page in pages for each in page]
    assert mine <= set(ids)
    assert len(ids) == len(set(ids))
    assert max(map(len, pages)) <= 3


@pytest.mark.parametrize("kind", ["identities", "deleted-identities"])
async def test_the_way_to_the_next_page_holds_neither_host_nor_key(api: Api, kind: str) -> None:
    """It is relative, keeps what was asked for, and is good for another caller's key."""
    make = api.new_identity if kind == "identities" else api.deleted_identity
    await make()
    await make()
    path = f"{kind}?maxPageSize=1&code={api.app.function_key}&clientId=default"

    page = (await api.call("GET", path, headers={})).assert_success()

    link = urlsplit(page["nextLink"])
    assert (link.scheme, link.netloc, link.path) == ("", "", f"/api/{kind}")
    assert parse_qs(link.query).keys() == {"maxPageSize", "continuation"}
    assert api.app.function_key not in page["nextLink"]
    (await api.call("GET", page["nextLink"], prefix="")).assert_success()


async def test_the_last_page_leads_nowhere(api: Api) -> None:
    """A user's list has no second one."""
    page = (await api.get("identities?userId=nobody")).assert_success()

    assert page == {"value": []}
