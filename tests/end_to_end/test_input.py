"""Unusual input, as the host decodes it from the wire."""

from codecs import BOM_UTF8
from collections.abc import Iterator

import aiohttp
import pytest

from tests.support.client import CHAT, OF_ANOTHER_RESOURCE, Client, Control
from tests.support.stack import App, Azure, running_app

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
    "cut off after it": (b'{"scopes":["VOIP"]', "invalid_body", "scopes"),
}
# Ids, with the status and the code of the problem. tests/test_identity.py has more.
WRONG_IDS = {
    "escaped slash": (OF_ANOTHER_RESOURCE.replace("_", "%2F"), 400, "invalid_identity_id"),
    "space at the end": (f"{OF_ANOTHER_RESOURCE}%20", 400, "invalid_identity_id"),
    "line end": (f"{OF_ANOTHER_RESOURCE}%0A", 400, "invalid_identity_id"),
    "question mark": (f"{OF_ANOTHER_RESOURCE}%3Fa=b", 400, "invalid_identity_id"),
    "encoded twice": (OF_ANOTHER_RESOURCE.replace(":", "%253A"), 400, "invalid_identity_id"),
    "object": ("%5Bobject%20Object%5D", 400, "invalid_identity_id"),
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


@pytest.mark.parametrize("size", [16 * KIB + 1, KIB * KIB], ids=["16 KiB and one", "1 MiB"])
@pytest.mark.parametrize("path", ["identities", WITH_TOKEN, "teams/token"])
async def test_a_longer_body_is_413(api: Client, path: str, size: int) -> None:
    """The problem names the limit. The host accepts bodies of up to 1 MiB."""
    reply = await api.call("POST", path, b"{}".ljust(size))

    assert reply.assert_problem(413, "body_too_large")["allowed"] == "16384 bytes"


@pytest.mark.parametrize("raw", [BOM_UTF8 + GOOD, b'{"scopes":["chat"],"userId":null}'])
async def test_a_byte_order_mark_and_null_are_accepted(api: Client, raw: bytes) -> None:
    """Editors write the mark, and serializers write null for what is absent."""
    (await api.call("POST", WITH_TOKEN, raw)).assert_success(201)


@pytest.mark.parametrize(
    ("query", "name", "problem"),
    [
        ("userId=", "userId", "empty"),
        ("userId", "userId", "empty"),
        ("%75serId=", "userId", "empty"),
        ("maxPageSize=5&userId=", "userId", "empty"),
        ("userId=alice&userId=alice", "userId", "repeated"),
        ("userId=alice&user%49d=bob", "userId", "repeated"),
        ("userId=&userId=alice", "userId", "empty"),
        ("continuation=", "continuation", "empty"),
        ("maxPageSize=1&maxPageSize=2", "maxPageSize", "repeated"),
        ("USERID=alice", "USERID", "no such parameter"),
        ("userId=%FF", None, "UTF-8"),
    ],
)
async def test_a_query_is_parsed_strictly(
    api: Client, query: str, name: str | None, problem: str
) -> None:
    """The host drops empty parameters and joins repeated ones: all identities would be listed."""
    reply = await api.get(f"identities?{query}")

    fields = reply.assert_problem(400, "invalid_query")
    assert fields.get("field") == name
    assert problem in fields["detail"]


# A due position, the table's positions in two lists, and texts that look like them.
CONTINUATIONS = (
    f"2030-01-01T12:00:00.000000Z%7C{OF_ANOTHER_RESOURCE}",
    "2030-01-01T12:00:00.000000Z%7Csomeone",
    f"2030-01-01T12:00:00.000000Z%7C{OF_ANOTHER_RESOURCE}{'0' * 3000}",
    "WzAsIG51bGwsICJpfCJd",  # [0, null, "i|"]
    "WzAsIG51bGwsICJhfCJd",  # [0, null, "a|"]
    "WzAsIHsiUGFydGl0aW9uS2V5IjogIlx1MDBlOSJ9LCAiaXwiXQ",
    "WzAsIHsiUm93S2V5IjogMX0sICJpfCJd",
    "%F0%9F%91%8D",
    "x" * 3000,
)


@pytest.mark.parametrize("continuation", CONTINUATIONS)
@pytest.mark.parametrize(
    ("query", "own"),
    [
        ("identities?", CONTINUATIONS[3]),
        ("deleted-identities?", CONTINUATIONS[0]),
        ("deleted-identities?stuck=true&", CONTINUATIONS[3]),
        ("teams/access?", CONTINUATIONS[4]),
        ("teams/access?tenantId=00000000-0000-0000-0000-000000000000&", ""),
    ],
)
async def test_invented_continuation_is_refused(
    api: Client, query: str, own: str, continuation: str
) -> None:
    """A continuation of another list, or of none, is the caller's mistake, not the registry's."""
    reply = await api.get(f"{query}continuation={continuation}")

    if continuation == own:
        reply.assert_success()
    else:
        assert reply.assert_problem(400, "invalid_query")["field"] == "continuation"


@pytest.mark.parametrize("query", ["userId=alice", "userId=", "USERID=alice", "scopes=chat"])
async def test_a_field_of_the_body_is_refused_in_the_query(
    api: Client, control: Control, query: str
) -> None:
    """If it were ignored, the call would create an identity without a user."""
    before = await control.attempts("create")

    reply = await api.call("POST", f"{WITH_TOKEN}?{query}", GOOD)

    assert "in the body" in reply.assert_problem(400, "invalid_query")["detail"]
    assert await control.attempts("create") == before


@pytest.mark.parametrize("query", ["code=&Code=a&CODE&clientId=", "%63ode=a&%63lientId=b"])
async def test_parameters_of_the_host_are_left_alone(api: Client, query: str) -> None:
    """A function key in the URL, and its name, are not parameters of an operation."""
    (await api.get(f"identities?{query}&maxPageSize=1")).assert_success()


# Headers and a prefix with which callers and proxies change the URL that the app sees.
URLS = {
    "host with a path and a query": ({"Disguised-Host": "x//evil.example/a?b"}, "/api/"),
    "host with a fragment": ({"Disguised-Host": "evil.example#"}, "/api/"),
    "host that is no host": ({"Disguised-Host": "[evil.example"}, "/api/"),
    "forwarded": (
        {
            "X-Forwarded-Host": "evil.example",
            "X-Forwarded-Prefix": "/evil",
            "X-Forwarded-Proto": "https",
            "X-Original-URL": "/evil",
            "Forwarded": "host=evil.example",
        },
        "/api/",
    ),
    "mixed case": ({}, "/API/"),
}


@pytest.fixture(scope="module")
def app_of_its_own(azure: Azure, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An app whose host may log failed invocations."""
    with running_app(azure, tmp_path_factory.mktemp("app")) as started:
        yield started


@pytest.mark.parametrize(("more", "prefix"), URLS.values(), ids=URLS)
@pytest.mark.parametrize("path", ["identities", "Identities/With-Token"])
async def test_location_comes_from_the_route(  # noqa: PLR0913, PLR0917 -- a matrix
    session: aiohttp.ClientSession,
    app_of_its_own: App,
    control: Control,
    path: str,
    more: dict[str, str],
    prefix: str,
    user: str,
) -> None:
    """No URL makes a creation fail after the identity was created, and none gets into Location.

    The real host refuses some of these hosts with an empty 500, before the app is called.
    """
    api = Client(session, app_of_its_own)
    before = await control.identities()
    body = {"userId": user, **(CHAT if "Token" in path else {})}
    query = f"?code={api.app.function_key}"
    reply = await api.call("POST", path + query, body, headers=more, prefix=prefix)

    if reply.status == 500:
        assert (reply.body, await control.identities()) == (b"", before)
        return
    created = reply.assert_success(201)
    assert reply.headers["Location"] == f"/api/identities/{created['id']}"


async def test_next_link_comes_from_the_route(api: Client) -> None:
    """It has neither the host nor the key nor the spelling of the caller, and it works."""
    for _ in range(2):
        await api.new_identity()
    query = f"?code={api.app.function_key}&maxPageSize=1&clientId=default"
    headers = {"Disguised-Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    reply = await api.call("GET", f"Identities{query}", headers=headers, prefix="/API/")

    link = reply.assert_success()["nextLink"]
    assert link.startswith("/api/identities?maxPageSize=1&continuation=")
    assert (api.app.function_key in link, "clientId" in link) == (False, False)
    (await api.call("GET", link, prefix="")).assert_success()


@pytest.mark.parametrize("path", ["health", "ready"])
async def test_head(api: Client, path: str) -> None:
    """Monitoring may send HEAD: the status and the headers are those of GET, without a body."""
    reply = await api.call("HEAD", path)

    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["identities", "me", "openapi.json"])
async def test_no_other_operation_accepts_head(api: Client, path: str) -> None:
    """The host refuses it, as any method that a route does not have."""
    (await api.call("HEAD", path)).assert_from_host(404)


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
            method, *_ = function["methods"]
            path = function["route"].replace("{id}", "wrong")
            body = {"wrong": 1} if method == "POST" else None
            query = "?wrong=1" if method == "GET" else ""
            replies[function["name"]] = await api.call(method, path + query, body)

    assert len(replies) >= 12
    codes = {reply.assert_problem(400, reply.code)["code"] for reply in replies.values()}
    assert codes == {"invalid_identity_id", "invalid_guid", "invalid_body", "invalid_query"}
