"""A user has one identity, whichever worker creates it."""

import asyncio
import json
from collections import Counter
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.support.client import CHAT, Client, Control

# tests/azure/test_tables.py has more.
ODD = {
    "slashes": "a/b\\c?d#e%2F",
    "white space within": "a  b\u00a0c",
    "right to left": "שלום",
    "longest": "💻" * 219,
}


async def test_a_user_gets_the_same_identity_again(api: Client, user: str) -> None:
    """The first call returns 201 with Location, the second 200 without."""
    first, second = [await api.post("identities", {"userId": user}) for _ in range(2)]

    assert second.assert_success(200) == first.assert_success(201)
    assert ("Location" in first.headers, "Location" in second.headers) == (True, False)


@pytest.mark.parametrize(
    ("path", "rest"),
    [("identities", {}), ("identities/with-token", CHAT)],
    ids=["alone", "with token"],
)
async def test_fifty_calls_at_once_on_two_workers_create_one_identity(  # noqa: PLR0913, PLR0917 -- fixtures
    api: Client,
    no_retention: Client,
    control: Control,
    user: str,
    path: str,
    rest: dict[str, object],
) -> None:
    """One call returns 201, every token is valid, and ACS keeps no other identity."""
    before = await control.active_identities()
    body = {"userId": user, **rest}

    replies = await asyncio.gather(
        *(worker.post(path, body) for worker in (api, no_retention) * 25)
    )

    assert Counter(reply.status for reply in replies) == {201: 1, 200: 49}
    [identity_id] = {reply.json()["id"] for reply in replies}
    assert await control.active_identities() - before == {identity_id}
    tokens = [reply.json()["token"] for reply in replies if rest]
    assert {await control.token_state(token) for token in tokens} <= {"valid"}


@pytest.mark.parametrize("name", ODD)
async def test_a_user_id_is_almost_any_text(api: Client, name: str) -> None:
    """The user is found again, and the list returns the id as it was sent."""
    odd = f"{uuid4()} {ODD[name]}"
    first, second = [await api.post("identities", {"userId": odd}) for _ in range(2)]
    listed = await api.get(f"identities?userId={quote(odd, safe='')}")

    identity_id = second.assert_success(200)["id"]
    assert first.assert_success(201)["id"] == identity_id
    (found,) = listed.assert_success()["value"]
    assert (found["id"], found["userId"]) == (identity_id, odd)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Zo\u00eb", "Zoe\u0308"),
        ("Alice", "alice"),
        ("\uff41lice", "alice"),
        ("\ufb01", "fi"),
        ("ß", "ss"),
    ],
    ids=["composed and decomposed", "case", "full width", "ligature", "sharp s"],
)
async def test_user_ids_are_compared_byte_by_byte(
    api: Client, user: str, one: str, other: str
) -> None:
    """Two spellings are two users. Callers normalise, if they want to."""
    created = [await api.post("identities", {"userId": f"{user} {each}"}) for each in (one, other)]

    first, second = [reply.assert_success(201)["id"] for reply in created]
    for spelling, identity_id in ((one, first), (other, second)):
        listed = await api.get(f"identities?userId={quote(f'{user} {spelling}', safe='')}")
        assert [each["id"] for each in listed.assert_success()["value"]] == [identity_id]
    assert first != second


@pytest.mark.parametrize(
    ("path", "rest"),
    [("identities", {}), ("identities/with-token", CHAT)],
    ids=["alone", "with token"],
)
@pytest.mark.parametrize("change", ["{}", " {}", "{}\n", "{}\u3000"])
async def test_an_identity_is_no_user(
    api: Client, control: Control, path: str, rest: dict[str, object], change: str
) -> None:
    """The id of an identity as userId would create a second one. The problem says what to call."""
    identity_id = await api.new_identity()
    before = await control.identities()

    # As bytes, because the client takes every userId for a secret, and this one is logged.
    body = json.dumps({"userId": change.format(identity_id), **rest}).encode()
    reply = await api.post(path, body)

    problem = reply.assert_problem(400, "invalid_body")
    assert problem["field"] == "userId"
    assert ("identities/{id}" in problem["detail"]) == (not change.startswith(" "))
    assert await control.identities() == before
