"""A user has one identity, whoever asks and how often."""

import asyncio
from collections import Counter
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.end_to_end.client import CHAT, Api, Control

ODD = {
    "quotes": 'it\'s "quoted"',
    "slashes": "a/b\\c?d#e%2F",
    "line ends": "a\r\n--batch_\r\nb",
    "NUL": "a\x00b",
    "accents": "Ünïcödé ",
    "emoji": "👩‍💻",
    "right to left": "שלום",
    "backslash": "\\ud83d",
    "spaces": "   ",
    "null": "null",
    "number": "1",
    "longest": "u" * 256,
    "longest emoji": "💻" * 256,
}


@pytest.fixture
def user_id() -> str:
    """A user of one's own."""
    return f"user-{uuid4()}@example.com"


async def test_a_user_is_given_the_same_identity_again(api: Api, user_id: str) -> None:
    """201 the first time, with Location, 200 afterwards, without."""
    first, second = [await api.post("identities", {"userId": user_id}) for _ in range(2)]

    identity = first.assert_success(201)
    assert second.assert_success(200) == identity
    assert ("Location" in first.headers, "Location" in second.headers) == (True, False)


async def test_a_user_is_given_a_fresh_token_for_the_same_identity(
    api: Api, control: Control, user_id: str
) -> None:
    """201 the first time, 200 afterwards; both tokens work."""
    body = {"userId": user_id, **CHAT}

    first, second = [await api.post("identities/with-token", body) for _ in range(2)]

    made, again = first.assert_success(201), second.assert_success(200)
    assert made["id"] == again["id"]
    assert made["token"] != again["token"]
    assert [await control.fate(each["token"]) for each in (made, again)] == ["works"] * 2


@pytest.mark.parametrize(
    ("path", "rest"),
    [("identities", {}), ("identities/with-token", CHAT)],
    ids=["alone", "with token"],
)
async def test_fifty_at_once_are_given_one_identity(
    api: Api, control: Control, user_id: str, path: str, rest: dict[str, object]
) -> None:
    """One of them is told that it is new, every token works, and ACS keeps that one alone."""
    before = await control.identities()

    replies = await asyncio.gather(
        *(api.post(path, {"userId": user_id, **rest}) for _ in range(50))
    )

    assert Counter(reply.status for reply in replies) == {201: 1, 200: 49}
    assert len({reply.json()["id"] for reply in replies}) == 1
    after = await control.identities()
    new = {name for name in after if name not in before and after[name] == "active"}
    assert new == {replies[0].json()["id"]}
    tokens = [reply.json()["token"] for reply in replies if rest]
    assert {await control.fate(token) for token in tokens} <= {"works"}


async def test_two_workers_give_a_user_one_identity(
    api: Api, hasty: Api, control: Control, user_id: str
) -> None:
    """They share nothing but the table."""
    before = await control.identities()

    replies = await asyncio.gather(
        *(worker.post("identities", {"userId": user_id}) for worker in (api, hasty) * 10)
    )

    assert Counter(reply.status for reply in replies) == {201: 1, 200: 19}
    assert len({reply.json()["id"] for reply in replies}) == 1
    after = await control.identities()
    assert [after[name] for name in after if name not in before].count("active") == 1


async def test_a_hundred_users_at_once_are_given_identities_of_their_own(api: Api) -> None:
    """Nobody gets somebody else's."""
    replies = await asyncio.gather(
        *(api.post("identities", {"userId": f"crowd-{uuid4()}"}) for _ in range(100))
    )

    assert len({reply.assert_success(201)["id"] for reply in replies}) == 100


@pytest.mark.parametrize("name", ODD)
async def test_a_user_id_may_be_anything(api: Api, name: str) -> None:
    """It is found again, and it comes back as it was sent."""
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


async def test_a_user_id_of_half_a_character_is_answered(api: Api) -> None:
    """A lone surrogate is no text: JSON can write it, UTF-8 cannot."""
    reply = await api.call("POST", "identities", b'{"userId":"\\ud83d"}')

    assert reply.status in (200, 201, 400)
    if reply.status == 400:
        reply.assert_problem(400, reply.json()["code"])


async def test_the_user_of_a_deleted_identity_is_told_so(api: Api, user_id: str) -> None:
    """With both ways of asking, and how to get it back; nobody else's list shows it."""
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


async def test_a_user_is_given_the_restored_identity(api: Api, user_id: str) -> None:
    """It is the old one."""
    identity = (await api.post("identities", {"userId": user_id})).assert_success(201)
    await api.delete(f"identities/{identity['id']}")
    await api.post(f"deleted-identities/{identity['id']}/restore")

    reply = await api.post("identities", {"userId": user_id})

    assert reply.assert_success(200) == identity


async def test_a_user_is_given_a_new_identity_after_the_purge(api: Api, user_id: str) -> None:
    """The claim on the old one is gone with it."""
    old = (await api.post("identities", {"userId": user_id})).assert_success(201)
    await api.delete(f"identities/{old['id']}")
    (await api.delete(f"deleted-identities/{old['id']}")).assert_success(204)

    replies = [await api.post("identities", {"userId": user_id}) for _ in range(2)]

    new = replies[0].assert_success(201)
    assert new != old
    assert replies[1].assert_success(200) == new
