"""Unusual input, as the host decodes it from the wire."""

import pytest

from tests.support.client import CHAT, OF_ANOTHER_RESOURCE, Client, Control

WITH_TOKEN = "identities/with-token"
KIB = 1024
# These return the same JSON for success and failure, and take no parameters.
REPORTS = {"ready", "openapi"}
GOOD = b'{"scopes":["chat"]}'
# Bodies, with the code and the field of the problem. tests/http/test_decoding.py has more.
WRONG_BODIES: dict[str, tuple[bytes, str, str | None]] = {
    "nothing": (b"", "invalid_body", "scopes"),
    "deep array": (b"[" * 16_000, "invalid_body", None),
    "invalid UTF-8": (b'{"scopes":["\xff"]}', "invalid_json", None),
    "UTF-16": (GOOD.decode().encode("utf-16"), "invalid_json", None),
    "unknown scope": (b'{"scopes":["VOIP"]}', "invalid_body", "scopes"),
}
# Ids, with the status and the code of the problem. tests/test_identity.py has more.
WRONG_IDS = {
    "escaped slash": (OF_ANOTHER_RESOURCE.replace("_", "%2F"), 400, "invalid_identity_id"),
    "space at the end": (f"{OF_ANOTHER_RESOURCE}%20", 400, "invalid_identity_id"),
    "line end": (f"{OF_ANOTHER_RESOURCE}%0A", 400, "invalid_identity_id"),
    "question mark": (f"{OF_ANOTHER_RESOURCE}%3Fa=b", 400, "invalid_identity_id"),
    "emoji": (OF_ANOTHER_RESOURCE.replace("_", "%F0%9F%98%80"), 400, "invalid_identity_id"),
    "dots": ("..%2Fwith-token", 400, "invalid_identity_id"),
    "long": ("8" * 7_000, 400, "invalid_identity_id"),
    "another resource's": (OF_ANOTHER_RESOURCE, 404, "identity_not_found"),
    "escaped colons": (OF_ANOTHER_RESOURCE.replace(":", "%3A"), 404, "identity_not_found"),
    "too long for the host": ("8" * 10_000, 414, ""),
}


@pytest.mark.parametrize("name", WRONG_BODIES)
async def test_a_wrong_body_is_400(api: Client, control: Control, name: str) -> None:
    """The problem names the field and the allowed values, and ACS is not called."""
    raw, code, field = WRONG_BODIES[name]
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

    (await api.call("POST", "identities", raw, headers=headers)).assert_success(201)


async def test_a_body_may_have_16_kib(api: Client) -> None:
    """This is the limit."""
    (await api.call("POST", WITH_TOKEN, GOOD.ljust(16 * KIB))).assert_success(201)


@pytest.mark.parametrize("size", [16 * KIB + 1, 10 * KIB * KIB], ids=["16 KiB and one", "10 MiB"])
@pytest.mark.parametrize("path", ["identities", WITH_TOKEN, "teams/token"])
async def test_a_longer_body_is_413(api: Client, path: str, size: int) -> None:
    """The problem names the limit."""
    reply = await api.call("POST", path, b"{}".ljust(size))

    assert reply.assert_problem(413, "body_too_large")["allowed"] == "16384 bytes"


@pytest.mark.parametrize("name", WRONG_IDS)
async def test_a_wrong_id_is_refused_on_every_route(api: Client, name: str) -> None:
    """A malformed id never reaches ACS, where it could address another resource."""
    identity_id, status, code = WRONG_IDS[name]
    identity, deleted = f"identities/{identity_id}", f"deleted-identities/{identity_id}"
    replies = [
        await api.get(identity),
        await api.delete(identity),
        await api.post(f"{identity}/tokens", CHAT),
        await api.delete(f"{identity}/tokens"),
        await api.get(deleted),
        await api.delete(deleted),
        await api.post(f"{deleted}/restore"),
    ]

    for reply in replies:
        if code:
            reply.assert_problem(status, code)
        else:
            reply.assert_from_host(status)


async def test_every_operation_of_services_refuses_in_the_same_shape(api: Client) -> None:
    """A wrong id, body or query is a problem with type, title, status, code and detail."""
    replies = {}
    for function in await api.http_functions():
        if function["authLevel"] == "function" and function["name"] not in REPORTS:
            [method] = function["methods"]
            path = function["route"].replace("{id}", "wrong")
            body = {"wrong": 1} if method == "POST" else None
            query = "?wrong=1" if method == "GET" else ""
            replies[function["name"]] = await api.call(method, path + query, body)

    assert len(replies) >= 12
    codes = {reply.assert_problem(400, reply.code)["code"] for reply in replies.values()}
    assert codes == {"invalid_identity_id", "invalid_body", "invalid_query"}
