"""Identities that were created elsewhere are registered, imported and unregistered."""

from uuid import uuid4

import pytest

from tests.support.client import CHAT, Client, Control, Me, claims
from tests.support.memory import UNKNOWN


def user_id_of(me: Me) -> str:
    """The user id under which services find the identity of a signed-in user."""
    token = claims(me.sign_in_token)
    return f"aad/{token['tid']}/{token['oid']}"


async def test_a_registered_identity_is_the_users(
    api: Client, me: Me, control: Control, foreign_identity: str
) -> None:
    """Services find it by its user, and the user gets tokens for it instead of a new identity."""
    user_id = user_id_of(me)
    path = f"identities/{foreign_identity}"

    registered = await api.call("PUT", path, {"userId": user_id})
    repeated = await api.call("PUT", path, {"userId": user_id})

    identity = registered.assert_success(201)
    assert registered.headers["Location"] == f"/api/{path}"
    assert identity.keys() == {"id", "state", "userId", "knownOn"}
    assert (await me.read()).assert_success() == repeated.assert_success() == identity
    issued = (await me.issue()).assert_success()
    assert issued["id"] == foreign_identity
    assert await control.token_state(issued["token"]) == "valid"


async def test_an_empty_body_registers_without_a_user(api: Client, foreign_identity: str) -> None:
    """The user is optional."""
    registered = await api.call("PUT", f"identities/{foreign_identity}", b"")

    assert "userId" not in registered.assert_success(201)


async def test_an_identity_that_acs_does_not_have(api: Client) -> None:
    """It is not registered."""
    (await api.call("PUT", f"identities/{UNKNOWN}")).assert_problem(404, "identity_not_found")

    (await api.get(f"identities/{UNKNOWN}")).assert_problem(404, "identity_not_found")


async def test_a_user_with_another_identity(api: Client, user: str, foreign_identity: str) -> None:
    """The problem has the id of the other identity. Unregistering that one makes room."""
    created = (await api.post("identities", {"userId": user})).assert_success(201)["id"]
    path = f"identities/{foreign_identity}"

    refused = await api.call("PUT", path, {"userId": user})

    assert refused.assert_problem(409, "user_has_identity")["identityId"] == created
    (await api.delete(f"identities/{created}/registration")).assert_success(204)
    (await api.call("PUT", path, {"userId": user})).assert_success(201)


async def test_unregistering_leaves_the_identity_in_acs(
    api: Client, control: Control, user: str
) -> None:
    """The registry forgets it. Its tokens stay valid, and the user can have another identity."""
    created = (await api.post("identities", {"userId": user})).assert_success(201)["id"]
    token = await api.new_token(created)
    path = f"identities/{created}/registration"

    other = await api.delete(f"{path}?userId=somebody-else")
    done = await api.delete(f"{path}?userId={user}")

    other.assert_problem(409, "user_mismatch")
    done.assert_success(204)
    assert await control.state(created) == "active"
    assert await control.token_state(token) == "valid"
    assert (await api.get(f"identities?userId={user}")).assert_success()["value"] == []


async def test_an_import_has_a_result_for_each_record(
    api: Client, user: str, foreign_identity: str
) -> None:
    """Repeating it changes nothing."""
    records: list[dict[str, str | None]] = [
        {"id": foreign_identity, "userId": user},
        {"id": UNKNOWN, "userId": None},
        {"id": "8:orgid:somebody"},
    ]

    first = await api.post("identities/import", {"identities": records})
    second = await api.post("identities/import", {"identities": records})

    results = ["registered", "identity_not_found", "invalid_identity_id"]
    assert [one["result"] for one in first.assert_success()["results"]] == results
    again = second.assert_success()["results"]
    assert [one["result"] for one in again] == ["unchanged", *results[1:]]
    assert [one["id"] for one in again] == [record["id"] for record in records]
    found = (await api.get(f"identities?userId={user}")).assert_success()["value"]
    assert [one["id"] for one in found] == [foreign_identity]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"identities": [{"id": "x"}, {"userId": "alice"}]}, "identities[1].id"),
        ({"identities": [{"id": "x"}] * 101}, "identities"),
        ({"identities": []}, "identities"),
        ({}, "identities"),
    ],
)
async def test_an_invalid_import(api: Client, body: dict[str, object], field: str) -> None:
    """The problem names the record and the field, and nothing is registered."""
    refused = await api.post("identities/import", body)

    assert refused.assert_problem(400, "invalid_body")["field"] == field


async def test_a_deleted_identity_is_found_by_its_user(api: Client, user: str) -> None:
    """Both lists find it, with its state."""
    created = (await api.post("identities", {"userId": user})).assert_success(201)["id"]
    await api.delete(f"identities/{created}")

    lists = ["identities", "deleted-identities"]
    found = [(await api.get(f"{kind}?userId={user}")).assert_success()["value"] for kind in lists]

    assert [(one["id"], one["state"]) for [one] in found] == [(created, "deleted")] * 2
    conflict = await api.post("identities", {"userId": user})
    assert conflict.assert_problem(409, "identity_deleted")["identityId"] == created


async def test_a_state_selects(api: Client) -> None:
    """A list of a state has identities in this state only."""
    deleted, active = await api.deleted_identity(), await api.new_identity()

    listed = await api.all_ids("identities?state=deleted&maxPageSize=1000")

    assert deleted in listed
    assert active not in listed


async def test_an_identity_of_another_resource(api: Client) -> None:
    """It is not found: ACS says that it belongs to another resource."""
    other = f"8:acs:{uuid4()}_{uuid4()}"

    (await api.call("PUT", f"identities/{other}")).assert_problem(404, "identity_not_found")
    (await api.post(f"identities/{other}/tokens", CHAT)).assert_problem(404, "identity_not_found")
