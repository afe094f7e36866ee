"""A user has one identity."""

import asyncio
from collections import Counter
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.support.client import CHAT, Client, Control

# tests/test_registry.py has more.
ODD = {
    "quotes": 'it\'s "quoted"',
    "slashes": "a/b\\c?d#e%2F",
    "line ends": "a\r\n--batch_\r\nb",
    "NUL": "a\x00b",
    "right to left": "שלום",
    "null": "null",
    "longest": "u" * 256,
    "longest emoji": "💻" * 256,
}


@pytest.fixture
def user_id() -> str:
    """The id of a new user."""
    return f"user-{uuid4()}@example.com"


async def test_a_user_gets_the_same_identity_again(api: Client, user_id: str) -> None:
    """The first call returns 201 with Location, the second 200 without."""
    first, second = [await api.post("identities", {"userId": user_id}) for _ in range(2)]

    identity = first.assert_success(201)
    assert second.assert_success(200) == identity
    assert ("Location" in first.headers, "Location" in second.headers) == (True, False)


async def test_a_user_gets_a_new_token_for_the_same_identity(
    api: Client, control: Control, user_id: str
) -> None:
    """The first call returns 201, the second 200, and both tokens are valid."""
    body = {"userId": user_id, **CHAT}

    first, second = [await api.post("identities/with-token", body) for _ in range(2)]

    created, found = first.assert_success(201), second.assert_success(200)
    assert created["id"] == found["id"]
    assert created["token"] != found["token"]
    states = [await control.token_state(each["token"]) for each in (created, found)]
    assert states == ["valid"] * 2


@pytest.mark.parametrize(
    ("path", "rest"),
    [("identities", {}), ("identities/with-token", CHAT)],
    ids=["alone", "with token"],
)
async def test_fifty_calls_at_once_create_one_identity(
    api: Client, control: Control, user_id: str, path: str, rest: dict[str, object]
) -> None:
    """One call returns 201, every token is valid, and ACS keeps no other identity."""
    before = await control.active_identities()

    replies = await asyncio.gather(
        *(api.post(path, {"userId": user_id, **rest}) for _ in range(50))
    )

    assert Counter(reply.status for reply in replies) == {201: 1, 200: 49}
    [identity_id] = {reply.json()["id"] for reply in replies}
    assert await control.active_identities() - before == {identity_id}
    tokens = [reply.json()["token"] for reply in replies if rest]
    assert {await control.token_state(token) for token in tokens} <= {"valid"}


async def test_two_workers_create_one_identity(
    api: Client, no_retention: Client, control: Control, user_id: str
) -> None:
    """The workers share only the table."""
    before = await control.active_identities()

    replies = await asyncio.gather(
        *(worker.post("identities", {"userId": user_id}) for worker in (api, no_retention) * 10)
    )

    assert Counter(reply.status for reply in replies) == {201: 1, 200: 19}
    [identity_id] = {reply.json()["id"] for reply in replies}
    assert await control.active_identities() - before == {identity_id}


async def test_a_hundred_users_at_once_get_different_identities(api: Client) -> None:
    """No user gets another user's identity."""
    replies = await asyncio.gather(
        *(api.post("identities", {"userId": f"crowd-{uuid4()}"}) for _ in range(100))
    )

    assert len({reply.assert_success(201)["id"] for reply in replies}) == 100


@pytest.mark.parametrize("name", ODD)
async def test_a_user_id_is_any_text(api: Client, name: str) -> None:
    """The user is found again, and the list returns the id as it was sent."""
    odd = ODD[name] if name.startswith("longest") else f"{uuid4()} {ODD[name]}"
    if name == "longest":
        odd = f"{uuid4()}{odd}"[:256]
    first, second = [await api.post("identities", {"userId": odd}) for _ in range(2)]
    listed = await api.get(f"identities?userId={quote(odd, safe='')}")

    identity_id = second.assert_success(200)["id"]
    assert first.status in (201, 200)
    assert first.json()["id"] == identity_id
    (found,) = listed.assert_success()["value"]
    assert (found["id"], found["userId"]) == (identity_id, odd)


async def test_a_user_id_with_a_lone_surrogate_is_no_server_error(api: Client) -> None:
    """JSON can represent half a character, UTF-8 cannot."""
    reply = await api.call("POST", "identities", b'{"userId":"\\ud83d"}')

    assert reply.status in (200, 201, 400)
    if reply.status == 400:
        reply.assert_problem(400, reply.code)


async def test_the_user_of_a_deleted_identity_gets_409(api: Client, user_id: str) -> None:
    """The problem says how to restore the identity, which no list of active ones contains."""
    identity = (await api.post("identities", {"userId": user_id})).assert_success(201)
    (await api.delete(f"identities/{identity['id']}")).assert_success(202)

    replies = [
        await api.post("identities", {"userId": user_id}),
        await api.post("identities/with-token", {"userId": user_id, **CHAT}),
    ]

    for reply in replies:
        problem = reply.assert_problem(409, "identity_deleted")
        assert f"deleted-identities/{identity['id']}/restore" in problem["detail"]
    listed = await api.get(f"identities?userId={user_id}")
    assert listed.assert_success()["value"] == []
    deleted = (await api.get(f"deleted-identities/{identity['id']}")).assert_success()
    assert deleted["userId"] == user_id


async def test_a_user_gets_the_restored_identity(api: Client, user_id: str) -> None:
    """It is the same identity as before the deletion."""
    identity = (await api.post("identities", {"userId": user_id})).assert_success(201)
    await api.delete(f"identities/{identity['id']}")
    await api.post(f"deleted-identities/{identity['id']}/restore")

    reply = await api.post("identities", {"userId": user_id})

    assert reply.assert_success(200) == identity


async def test_a_user_gets_a_new_identity_after_the_purge(api: Client, user_id: str) -> None:
    """The user row is removed together with the identity."""
    old = (await api.post("identities", {"userId": user_id})).assert_success(201)
    await api.delete(f"identities/{old['id']}")
    (await api.delete(f"deleted-identities/{old['id']}")).assert_success(204)

    replies = [await api.post("identities", {"userId": user_id}) for _ in range(2)]

    new = replies[0].assert_success(201)
    assert new != old
    assert replies[1].assert_success(200) == new
