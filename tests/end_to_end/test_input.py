"""Unusual input, sent over the wire."""

import pytest

from tests.support.client import CHAT, OF_ANOTHER_RESOURCE, Client, Control

WITH_TOKEN = "identities/with-token"
KIB = 1024
GOOD = b'{"scopes":["chat"]}'

# tests/test_decoding.py has many more.
REFUSED: dict[str, tuple[bytes, str, str | None]] = {
    "nothing": (b"", "invalid_body", "scopes"),
    "array": (b"[]", "invalid_body", None),
    "deep": (b"[" * 16_000, "invalid_body", None),
    "two objects": (GOOD + GOOD, "invalid_json", None),
    "invalid UTF-8": (b'{"scopes":["\xff"]}', "invalid_json", None),
    "UTF-16": (GOOD.decode().encode("utf-16"), "invalid_json", None),
    "unknown field": (b'{"scopes":["chat"],"scope":1}', "invalid_body", "scope"),
    "unknown scope": (b'{"scopes":["VOIP"]}', "invalid_body", "scopes"),
    "too long": (
        b'{"scopes":["chat"],"expiresInMinutes":1441}',
        "invalid_body",
        "expiresInMinutes",
    ),
    "user null": (b'{"scopes":["chat"],"userId":null}', "invalid_body", "userId"),
    "user empty": (b'{"scopes":["chat"],"userId":""}', "invalid_body", "userId"),
    "user too long": (
        b'{"scopes":["chat"],"userId":"' + b"u" * 257 + b'"}',
        "invalid_body",
        "userId",
    ),
}
UPPER = OF_ANOTHER_RESOURCE.upper()
IDS_REFUSED = {
    "upper case": UPPER.replace("8:ACS", "8:acs"),
    "upper case prefix": OF_ANOTHER_RESOURCE.replace("acs", "ACS"),
    "escaped slash": OF_ANOTHER_RESOURCE.replace("_", "%2F"),
    "slash at the end": f"{OF_ANOTHER_RESOURCE}%2F",
    "space": OF_ANOTHER_RESOURCE.replace("_", "%20"),
    "space at the end": f"{OF_ANOTHER_RESOURCE}%20",
    "line end": f"{OF_ANOTHER_RESOURCE}%0A",
    "question mark": f"{OF_ANOTHER_RESOURCE}%3Fa=b",
    "emoji": OF_ANOTHER_RESOURCE.replace("_", "%F0%9F%98%80"),
    "other digits": OF_ANOTHER_RESOURCE.replace("0", "%EF%BC%90"),
    "without prefix": OF_ANOTHER_RESOURCE.removeprefix("8:acs:"),
    "other prefix": OF_ANOTHER_RESOURCE.replace("8:acs", "8:orgid"),
    "dots": "..%2Fwith-token",
    "long": "8" * 7_000,
}
IDS_ACCEPTED = {
    "another resource's": OF_ANOTHER_RESOURCE,
    "escaped colons": OF_ANOTHER_RESOURCE.replace(":", "%3A"),
    "US government": OF_ANOTHER_RESOURCE.replace("acs", "gcch-acs"),
    "US defense": OF_ANOTHER_RESOURCE.replace("acs", "dod-acs"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_wrong_body_is_400(api: Client, control: Control, name: str) -> None:
    """The problem names the field and the allowed values, and ACS is not called."""
    raw, code, field = REFUSED[name]
    before = await control.attempts("create")

    reply = await api.call("POST", WITH_TOKEN, raw)

    problem = reply.assert_problem(400, code)
    assert problem.get("field") == field
    assert ("allowed" in problem) == (code == "invalid_body")
    assert await control.attempts("create") == before


@pytest.mark.parametrize("mimetype", ["", "text/plain", "application/x-www-form-urlencoded", "x"])
@pytest.mark.parametrize("raw", [b"", b"{}"], ids=["no body", "empty object"])
async def test_no_body_is_an_empty_object_where_all_fields_are_optional(
    api: Client, raw: bytes, mimetype: str
) -> None:
    """The Content-Type does not matter."""
    headers = {**api.headers, "Content-Type": mimetype}

    reply = await api.call("POST", "identities", raw, headers=headers)

    reply.assert_success(201)


async def test_a_body_may_have_16_kib(api: Client) -> None:
    """This is the limit."""
    reply = await api.call("POST", WITH_TOKEN, GOOD.ljust(16 * KIB))

    reply.assert_success(201)


@pytest.mark.parametrize("size", [16 * KIB + 1, 10 * KIB * KIB], ids=["16 KiB and one", "10 MiB"])
@pytest.mark.parametrize("path", ["identities", WITH_TOKEN, "teams/token"])
async def test_a_longer_body_is_413(api: Client, path: str, size: int) -> None:
    """The problem names the limit."""
    reply = await api.call("POST", path, b"{}".ljust(size))

    problem = reply.assert_problem(413, "body_too_large")
    assert problem["allowed"] == "16384 bytes"


def on_every_route(identity_id: str) -> list[tuple[str, str, object]]:
    """Returns method, path and body of a call to each operation that takes an id."""
    return [
        ("GET", f"identities/{identity_id}", None),
        ("DELETE", f"identities/{identity_id}", None),
        ("POST", f"identities/{identity_id}/tokens", CHAT),
        ("DELETE", f"identities/{identity_id}/tokens", None),
        ("GET", f"deleted-identities/{identity_id}", None),
        ("DELETE", f"deleted-identities/{identity_id}", None),
        ("POST", f"deleted-identities/{identity_id}/restore", None),
    ]


@pytest.mark.parametrize("name", IDS_REFUSED)
async def test_a_malformed_id_is_400_on_every_route(api: Client, name: str) -> None:
    """It never reaches ACS, where it could address another resource."""
    for call in on_every_route(IDS_REFUSED[name]):
        reply = await api.call(*call)

        problem = reply.assert_problem(400, "invalid_identity_id")
        assert problem["field"] == "id"


@pytest.mark.parametrize("name", IDS_ACCEPTED)
async def test_an_unknown_id_is_404_on_every_route(api: Client, name: str) -> None:
    """Where ACS was called, the problem has its request id."""
    for method, path, body in on_every_route(IDS_ACCEPTED[name]):
        reply = await api.call(method, path, body)

        problem = reply.assert_problem(404, "identity_not_found")
        assert "upstreamRequestId" in problem or not path.endswith("tokens")


async def test_deleting_an_unknown_identity_leaves_no_trace(api: Client) -> None:
    """The row that the deletion created is removed again."""
    (await api.delete(f"identities/{OF_ANOTHER_RESOURCE}")).assert_problem(
        404, "identity_not_found"
    )

    assert OF_ANOTHER_RESOURCE not in await api.all_ids("deleted-identities")


async def test_an_id_of_ten_thousand_characters_is_414_on_every_route(api: Client) -> None:
    """The host answers with an empty body."""
    for call in on_every_route("8" * 10_000):
        reply = await api.call(*call)

        reply.assert_from_host(414)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("identities?maxPageSize=101", "maxPageSize"),
        ("identities?continuation=WzE3LG51bGxd", "continuation"),
        ("identities?continuation=%F0%9F%98%80", "continuation"),
        ("identities?userid=x", "userid"),
        (f"identities?userId={'u' * 257}", "userId"),
        ("deleted-identities?maxPageSize=0", "maxPageSize"),
        ("deleted-identities?stuck=perhaps", "stuck"),
        ("deleted-identities?continuation=%F0%9F%98%80", "continuation"),
    ],
)
async def test_a_wrong_query_is_400(api: Client, path: str, field: str) -> None:
    """The problem names the parameter."""
    reply = await api.get(path)

    problem = reply.assert_problem(400, "invalid_query")
    assert problem["field"] == field
