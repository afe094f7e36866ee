"""Deleted identities yield no token, and can be restored until they are purged."""

import asyncio
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.communication.identity import CommunicationUserIdentifier
from azure.communication.identity.aio import CommunicationIdentityClient

from tests.support.client import CHAT, Client, Control, until
from tests.support.fixtures import StartApp


async def test_a_deleted_identity_yields_no_token(api: Client) -> None:
    """The problem says how to restore it."""
    identity_id = await api.deleted_identity()

    reply = await api.post(f"identities/{identity_id}/tokens", CHAT)

    problem = reply.assert_problem(409, "identity_deleted")
    assert f"deleted-identities/{identity_id}/restore" in problem["detail"]


async def test_a_deletion_revokes_all_tokens(api: Client, control: Control) -> None:
    """They are invalid before the response is sent."""
    identity_id = await api.new_identity()
    tokens = [await api.new_token(identity_id) for _ in range(3)]

    (await api.delete(f"identities/{identity_id}")).assert_success(202)

    assert [await control.token_state(token) for token in tokens] == ["revoked"] * 3


@pytest.mark.parametrize("attempt", range(3))
async def test_no_token_issued_during_the_deletion_stays_valid(
    api: Client, control: Control, attempt: int
) -> None:
    """Each call is refused, or its token is revoked."""
    identity_id = await api.new_identity()
    path = f"identities/{identity_id}/tokens"

    first = [asyncio.create_task(api.post(path, CHAT)) for _ in range(10)]
    deletion = asyncio.create_task(api.delete(f"identities/{identity_id}"))
    others = [asyncio.create_task(api.post(path, CHAT)) for _ in range(10)]
    replies = await asyncio.gather(*first, *others)
    (await deletion).assert_success(202)

    for reply in replies:
        if reply.status == 200:
            assert await control.token_state(reply.json()["token"]) == "revoked"
        else:
            reply.assert_problem(409, "identity_deleted")


async def test_repeating_a_deletion_returns_the_same_dates(
    api: Client, no_retention: Client
) -> None:
    """A later change of the retention does not affect them."""
    identity_id = await api.new_identity()

    replies = [await api.delete(f"identities/{identity_id}") for _ in range(2)]
    replies.append(await no_retention.delete(f"identities/{identity_id}"))

    first, second, third = [reply.assert_success(202) for reply in replies]
    assert first == second == third


async def test_simultaneous_deletions_are_one_deletion(api: Client) -> None:
    """All responses have the same date."""
    identity_id = await api.new_identity()

    replies = await asyncio.gather(*(api.delete(f"identities/{identity_id}") for _ in range(10)))

    dates = {reply.assert_success(202)["deletedOn"] for reply in replies}
    assert len(dates) == 1


async def test_a_deleted_identity_is_only_in_the_list_of_deleted_ones(api: Client) -> None:
    """The problem of the other route says where to find it."""
    identity_id = await api.deleted_identity()

    active = await api.get(f"identities/{identity_id}")
    deleted = await api.get(f"deleted-identities/{identity_id}")

    problem = active.assert_problem(404, "identity_deleted")
    assert f"deleted-identities/{identity_id}" in problem["detail"]
    found = deleted.assert_success()
    dates = {"createdOn", "deletedOn", "scheduledPurgeOn"}
    assert found.keys() == {"id", "state", "attempts", *dates}
    assert (found["id"], found["state"], found["attempts"]) == (identity_id, "deleted", 0)


async def test_an_active_identity_is_not_in_the_list_of_deleted_ones(api: Client) -> None:
    """The route of deleted identities returns 404."""
    identity_id = await api.new_identity()

    reply = await api.get(f"deleted-identities/{identity_id}")

    reply.assert_problem(404, "identity_not_found")


async def test_a_restored_identity_yields_tokens_again(api: Client, control: Control) -> None:
    """Tokens from before the deletion stay revoked."""
    identity_id = await api.new_identity()
    old = await api.new_token(identity_id)
    await api.delete(f"identities/{identity_id}")

    reply = await api.post(f"deleted-identities/{identity_id}/restore")

    assert reply.assert_success()["id"] == identity_id
    assert await control.token_state(await api.new_token(identity_id)) == "valid"
    assert await control.token_state(old) == "revoked"
    assert await api.is_gone(identity_id)
    (await api.get(f"identities/{identity_id}")).assert_success()


async def test_restoring_an_active_identity_changes_nothing(api: Client) -> None:
    """Each call returns 200."""
    identity_id = await api.new_identity()

    replies = [await api.post(f"deleted-identities/{identity_id}/restore") for _ in range(2)]

    assert [reply.assert_success()["id"] for reply in replies] == [identity_id] * 2


async def test_a_restored_identity_can_be_deleted_again(api: Client) -> None:
    """The second deletion has a later date."""
    identity_id = await api.new_identity()
    first = (await api.delete(f"identities/{identity_id}")).assert_success(202)
    await api.post(f"deleted-identities/{identity_id}/restore")

    second = (await api.delete(f"identities/{identity_id}")).assert_success(202)

    assert second["deletedOn"] > first["deletedOn"]
    (await api.post(f"identities/{identity_id}/tokens", CHAT)).assert_problem(
        409, "identity_deleted"
    )


async def test_a_purge_deletes_the_identity_at_once(api: Client, control: Control) -> None:
    """It is removed from ACS and from the registry."""
    identity_id = await api.deleted_identity()

    reply = await api.delete(f"deleted-identities/{identity_id}")

    reply.assert_success(204)
    assert await control.state(identity_id) == "deleted"
    assert identity_id not in await api.all_ids("deleted-identities?maxPageSize=50")


async def test_a_purged_identity_is_404_on_every_route(api: Client) -> None:
    """It cannot be restored."""
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


async def test_an_active_identity_cannot_be_purged(api: Client, control: Control) -> None:
    """It stays active."""
    identity_id = await api.new_identity()

    reply = await api.delete(f"deleted-identities/{identity_id}")

    reply.assert_problem(409, "identity_not_deleted")
    assert await control.state(identity_id) == "active"


async def test_of_a_simultaneous_restore_and_purge_one_wins(api: Client, control: Control) -> None:
    """The identity is either restored and active or purged, never half of both."""
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


async def test_purge_protection_refuses_purges_by_callers(
    start_app: StartApp, control: Control
) -> None:
    """The sweep still purges identities that are due."""
    protected = start_app(PURGE_PROTECTION="true", DELETED_IDENTITY_RETENTION_DAYS="0")
    identity_id = await protected.deleted_identity()

    reply = await protected.delete(f"deleted-identities/{identity_id}")

    reply.assert_problem(403, "purge_protected")
    assert await control.state(identity_id) == "active"
    await protected.sweep()
    await until(lambda: protected.is_gone(identity_id))
    assert await control.state(identity_id) == "deleted"


async def test_a_foreign_identity_yields_tokens(
    api: Client, control: Control, foreign_identity: str
) -> None:
    """An identity that another client created stays unknown to the registry."""
    reply = await api.post(f"identities/{foreign_identity}/tokens", CHAT)

    assert await control.token_state(reply.assert_success()["token"]) == "valid"
    (await api.get(f"identities/{foreign_identity}")).assert_problem(404, "identity_not_found")


async def test_a_foreign_identity_is_deleted_and_restored(
    api: Client, control: Control, foreign_identity: str
) -> None:
    """The deletion registers it."""
    token = await api.new_token(foreign_identity)

    (await api.delete(f"identities/{foreign_identity}")).assert_success(202)

    assert await control.token_state(token) == "revoked"
    (await api.post(f"identities/{foreign_identity}/tokens", CHAT)).assert_problem(
        409, "identity_deleted"
    )
    (await api.get(f"deleted-identities/{foreign_identity}")).assert_success()
    (await api.post(f"deleted-identities/{foreign_identity}/restore")).assert_success()
    assert await control.token_state(await api.new_token(foreign_identity)) == "valid"


async def test_a_foreign_identity_is_swept(
    no_retention: Client, control: Control, foreign_identity: str
) -> None:
    """The sweep deletes it in ACS."""
    (await no_retention.delete(f"identities/{foreign_identity}")).assert_success(202)

    await no_retention.sweep()

    await until(lambda: no_retention.is_gone(foreign_identity))
    assert await control.state(foreign_identity) == "deleted"


async def test_an_identity_that_another_client_deleted_is_404(
    api: Client, sdk: CommunicationIdentityClient, foreign_identity: str
) -> None:
    """Deleting it here as well leaves no row behind."""
    await sdk.delete_user(CommunicationUserIdentifier(foreign_identity))

    replies = [
        await api.post(f"identities/{foreign_identity}/tokens", CHAT),
        await api.delete(f"identities/{foreign_identity}"),
        await api.get(f"deleted-identities/{foreign_identity}"),
    ]

    for reply in replies:
        reply.assert_problem(404, "identity_not_found")


async def test_deleted_identities_are_listed_in_the_order_of_their_purge(
    api: Client, no_retention: Client
) -> None:
    """An identity that is deleted later may be purged earlier."""
    later = [await api.deleted_identity() for _ in range(3)]
    sooner = [await no_retention.deleted_identity() for _ in range(3)]

    listed = await api.all_ids("deleted-identities")

    assert [each for each in listed if each in {*later, *sooner}] == [*sooner, *later]


@pytest.mark.parametrize("kind", ["identities", "deleted-identities"])
async def test_a_list_is_read_page_by_page(api: Client, kind: str) -> None:
    """No page exceeds the requested size, and every entry is on exactly one page."""
    create = api.new_identity if kind == "identities" else api.deleted_identity
    mine = {await create() for _ in range(7)}

    pages = [page async for page in api.pages(f"{kind}?maxPageSize=3")]

    ids = [each["id"] for page in pages for each in page]
    assert mine <= set(ids)
    assert len(ids) == len(set(ids))
    assert max(map(len, pages)) <= 3


@pytest.mark.parametrize("kind", ["identities", "deleted-identities"])
async def test_the_next_link_contains_neither_host_nor_key(api: Client, kind: str) -> None:
    """It is relative, keeps the other parameters, and works with another caller's key."""
    create = api.new_identity if kind == "identities" else api.deleted_identity
    await create()
    await create()
    path = f"{kind}?maxPageSize=1&code={api.app.function_key}&clientId=default"

    page = (await api.call("GET", path, headers={})).assert_success()

    link = urlsplit(page["nextLink"])
    assert (link.scheme, link.netloc, link.path) == ("", "", f"/api/{kind}")
    assert parse_qs(link.query).keys() == {"maxPageSize", "continuation"}
    assert api.app.function_key not in page["nextLink"]
    (await api.call("GET", page["nextLink"], prefix="")).assert_success()


async def test_the_last_page_has_no_next_link(api: Client) -> None:
    """The list of an unknown user is empty."""
    page = (await api.get("identities?userId=unknown")).assert_success()

    assert page == {"value": []}
