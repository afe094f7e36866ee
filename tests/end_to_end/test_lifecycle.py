"""Deleted identities yield no token, and can be restored until they are purged."""

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.client import CHAT, Client, Control


async def test_a_deleted_identity_yields_no_token(api: Client, control: Control) -> None:
    """Existing tokens are revoked, and the problem says how to restore the identity."""
    identity_id = await api.new_identity()
    tokens = [await api.new_token(identity_id) for _ in range(3)]

    (await api.delete(f"identities/{identity_id}")).assert_success(202)

    assert [await control.token_state(token) for token in tokens] == ["revoked"] * 3
    reply = await api.post(f"identities/{identity_id}/tokens", CHAT)
    problem = reply.assert_problem(409, "identity_deleted")
    assert f"deleted-identities/{identity_id}/restore" in problem["detail"]


async def test_a_deleted_identity_is_only_in_the_list_of_deleted_ones(api: Client) -> None:
    """The problem of the other route says where to find it."""
    identity_id = await api.deleted_identity()

    active = await api.get(f"identities/{identity_id}")
    deleted = await api.get(f"deleted-identities/{identity_id}")

    problem = active.assert_problem(404, "identity_deleted")
    assert f"deleted-identities/{identity_id}" in problem["detail"]
    found = deleted.assert_success()
    dates = {"createdOn", "deletedOn", "scheduledPurgeOn"}
    assert found.keys() == {"id", "state", "attempts", "deletedBy", *dates}
    assert (found["id"], found["state"], found["attempts"]) == (identity_id, "deleted", 0)


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


async def test_a_purge_deletes_the_identity_at_once(api: Client, control: Control) -> None:
    """It is removed from ACS and from the registry."""
    identity_id = await api.deleted_identity()

    reply = await api.delete(f"deleted-identities/{identity_id}")

    reply.assert_success(204)
    assert await control.state(identity_id) == "deleted"
    assert identity_id not in await api.all_ids("deleted-identities?maxPageSize=50")


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


each_list = pytest.mark.parametrize("kind", ["identities", "deleted-identities"])


@pytest.fixture
async def ids(api: Client, kind: str) -> set[str]:
    """The ids of seven new identities in the list."""
    create = api.new_identity if kind == "identities" else api.deleted_identity
    return {await create() for _ in range(7)}


@each_list
async def test_a_list_is_read_page_by_page(api: Client, kind: str, ids: set[str]) -> None:
    """No page exceeds the requested size, and every entry is on exactly one page."""
    pages = [page async for page in api.pages(f"{kind}?maxPageSize=3")]

    listed = [each["id"] for page in pages for each in page]
    assert ids <= set(listed)
    assert len(listed) == len(set(listed))
    assert max(map(len, pages)) <= 3


@each_list
async def test_the_next_link_contains_neither_host_nor_key(
    api: Client, kind: str, ids: set[str]
) -> None:
    """It is relative, keeps the other parameters, and works with another caller's key."""
    path = f"{kind}?maxPageSize=1&code={api.app.function_key}&clientId=default"

    page = (await api.call("GET", path, headers={})).assert_success()

    link = urlsplit(page["nextLink"])
    assert (link.scheme, link.netloc, link.path) == ("", "", f"/api/{kind}")
    assert parse_qs(link.query).keys() == {"maxPageSize", "continuation"}
    (await api.call("GET", page["nextLink"], prefix="")).assert_success()
