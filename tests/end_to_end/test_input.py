"""Input worth trying, over the wire."""

import pytest

from tests.end_to_end.client import CHAT, OF_ANOTHER_RESOURCE, Api, Control

WITH_TOKEN = "identities/with-token"
KIB = 1024
GOOD = b'{"scopes":["chat"]}'

REFUSED: dict[str, tuple[bytes, str, str | None]] = {
    "array": (b"[]", "invalid_body", None),
    "null": (b"null", "invalid_body", None),
    "number": (b"1", "invalid_body", None),
    "string": (b'"chat"', "invalid_body", None),
    "nothing": (b"", "invalid_body", "scopes"),
    "empty object": (b"{}", "invalid_body", "scopes"),
    "blank": (b"  ", "invalid_json", None),
    "half": (b'{"scopes":["chat"]', "invalid_json", None),
    "two": (GOOD + GOOD, "invalid_json", None),
    "form": (b"scopes=chat", "invalid_json", None),
    "invalid UTF-8 in a string": (b'{"scopes":["\xff"]}', "invalid_json", None),
    "invalid UTF-8 in a name": (b'{"\xc3\x28":1}', "invalid_json", None),
    "invalid UTF-8 outside": (b"\xff", "invalid_json", None),
    "UTF-16": (GOOD.decode().encode("utf-16"), "invalid_json", None),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, "invalid_json", None),
    "deep": (b"[" * 16_000, "invalid_body", None),
    "deep member": (b'{"scopes":' + b"[" * 16_000, "invalid_body", "scopes"),
    "unknown member": (b'{"scopes":["chat"],"scope":1}', "invalid_body", "scope"),
    "no scope": (b'{"scopes":[]}', "invalid_body", "scopes"),
    "scopes null": (b'{"scopes":null}', "invalid_body", "scopes"),
    "scopes a string": (b'{"scopes":"voip"}', "invalid_body", "scopes"),
    "upper case": (b'{"scopes":["VOIP"]}', "invalid_body", "scopes"),
    "a hundred": (b'{"scopes":[' + b'"chat",' * 99 + b'"chat"]}', "invalid_body", "scopes"),
    "repeated": (b'{"scopes":["chat","chat"]}', "invalid_body", "scopes"),
    "scope null": (b'{"scopes":[null]}', "invalid_body", "scopes"),
    "user null": (b'{"scopes":["chat"],"userId":null}', "invalid_body", "userId"),
    "user empty": (b'{"scopes":["chat"],"userId":""}', "invalid_body", "userId"),
    "user too long": (
        b'{"scopes":["chat"],"userId":"' + b"u" * 257 + b'"}',
        "invalid_body",
        "userId",
    ),
}
MINUTES_REFUSED = ["59", "1441", "60.5", '"60"', "true", "null", "-60", "0", "1e400", "9" * 400]
MINUTES_TAKEN = ["60", "60.0", "6e1", "1440"]

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
IDS_TAKEN = {
    "another resource's": OF_ANOTHER_RESOURCE,
    "escaped colons": OF_ANOTHER_RESOURCE.replace(":", "%3A"),
    "US government": OF_ANOTHER_RESOURCE.replace("acs", "gcch-acs"),
    "US defense": OF_ANOTHER_RESOURCE.replace("acs", "dod-acs"),
}
ON_AN_ID = [
    ("GET", "identities/{}"),
    ("DELETE", "identities/{}"),
    ("POST", "identities/{}/tokens"),
    ("DELETE", "identities/{}/tokens"),
    ("GET", "deleted-identities/{}"),
    ("DELETE", "deleted-identities/{}"),
    ("POST", "deleted-identities/{}/restore"),
]


@pytest.mark.parametrize("name", REFUSED)
async def test_a_body_that_is_none_of_ours_is_a_400(api: Api, control: Control, name: str) -> None:
    """It names the member and what is allowed there, and ACS is not asked."""
    raw, code, field = REFUSED[name]
    before = await control.attempts("create")

    reply = await api.call("POST", WITH_TOKEN, raw)

    problem = reply.assert_problem(400, code)
    assert problem.get("field") == field
    assert ("allowed" in problem) == (code == "invalid_body")
    assert await control.attempts("create") == before


@pytest.mark.parametrize("minutes", MINUTES_REFUSED, ids=lambda text: text[:8])
async def test_a_lifetime_that_is_no_whole_number_from_60_to_1440_is_a_400(
    api: Api, minutes: str
) -> None:
    """It names the member and what is allowed there."""
    raw = b'{"scopes":["chat"],"expiresInMinutes":%s}' % minutes.encode()

    reply = await api.call("POST", WITH_TOKEN, raw)

    problem = reply.assert_problem(400, "invalid_body")
    assert problem["field"] == "expiresInMinutes"
    assert "60 to 1440" in problem["allowed"]


@pytest.mark.parametrize("minutes", MINUTES_TAKEN)
async def test_a_lifetime_is_taken_however_the_number_is_written(api: Api, minutes: str) -> None:
    """To JSON 60 and 60.0 are the same number."""
    raw = b'{"scopes":["chat"],"expiresInMinutes":%s}' % minutes.encode()

    reply = await api.call("POST", WITH_TOKEN, raw)

    reply.assert_success(201)


async def test_of_a_member_that_stands_there_twice_the_last_one_counts(api: Api) -> None:
    """The first one may even be wrong in its value."""
    reply = await api.call("POST", WITH_TOKEN, b'{"scopes":["voip"],"scopes":["chat"]}')

    reply.assert_success(201)


@pytest.mark.parametrize("mimetype", ["", "text/plain", "application/x-www-form-urlencoded", "x"])
@pytest.mark.parametrize("raw", [b"", b"{}"], ids=["no body", "empty object"])
async def test_where_every_field_is_optional_nothing_counts_as_an_empty_object(
    api: Api, raw: bytes, mimetype: str
) -> None:
    """Whatever its Content-Type."""
    headers = {"x-functions-key": api.app.function_key, "Content-Type": mimetype}

    reply = await api.call("POST", "identities", raw, headers=headers)

    reply.assert_success(201)


async def test_a_body_of_16_kib_is_read(api: Api) -> None:
    """It is the most that is read."""
    reply = await api.call("POST", WITH_TOKEN, GOOD.ljust(16 * KIB))

    reply.assert_success(201)


@pytest.mark.parametrize("size", [16 * KIB + 1, 10 * KIB * KIB], ids=["16 KiB and one", "10 MiB"])
@pytest.mark.parametrize("path", ["identities", WITH_TOKEN, "teams/token"])
async def test_a_longer_body_is_a_413(api: Api, path: str, size: int) -> None:
    """It tells how much is allowed."""
    reply = await api.call("POST", path, b"{}".ljust(size))

    problem = reply.assert_problem(413, "body_too_large")
    assert problem["allowed"] == "16384 bytes"


@pytest.mark.parametrize(("method", "path"), ON_AN_ID)
@pytest.mark.parametrize("name", IDS_REFUSED)
async def test_an_id_that_is_none_is_a_400(api: Api, method: str, path: str, name: str) -> None:
    """On every route; it never reaches ACS, where it could address something else."""
    body = CHAT if (method, path) == ("POST", "identities/{}/tokens") else None

    reply = await api.call(method, path.format(IDS_REFUSED[name]), body)

    problem = reply.assert_problem(400, "invalid_identity_id")
    assert problem["field"] == "id"


@pytest.mark.parametrize(("method", "path"), ON_AN_ID)
@pytest.mark.parametrize("name", IDS_TAKEN)
async def test_an_id_of_nobody_we_know_is_a_404(
    api: Api, method: str, path: str, name: str
) -> None:
    """On every route."""
    body = CHAT if (method, path) == ("POST", "identities/{}/tokens") else None

    reply = await api.call(method, path.format(IDS_TAKEN[name]), body)

    reply.assert_problem(404, "identity_not_found")


async def test_deleting_a_strangers_identity_leaves_no_trace(api: Api) -> None:
    """The row that was born in the delete is out again."""
    (await api.delete(f"identities/{OF_ANOTHER_RESOURCE}")).assert_problem(
        404, "identity_not_found"
    )

    listed = await api.all_ids("deleted-identities")

    assert OF_ANOTHER_RESOURCE not in listed


@pytest.mark.parametrize(("method", "path"), ON_AN_ID)
async def test_an_id_of_ten_thousand_characters_is_a_414(api: Api, method: str, path: str) -> None:
    """The host answers, and with nothing at all."""
    reply = await api.call(method, path.format("8" * 10_000))

    reply.assert_of_the_host(414)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("identities?maxPageSize=0", "maxPageSize"),
        ("identities?maxPageSize=101", "maxPageSize"),
        ("identities?maxPageSize=x", "maxPageSize"),
        ("identities?continuation=x", "continuation"),
        ("identities?continuation=WzE3LG51bGxd", "continuation"),
        ("identities?continuation=%F0%9F%98%80", "continuation"),
        ("identities?userid=x", "userid"),
        (f"identities?userId={'u' * 257}", "userId"),
        ("deleted-identities?maxPageSize=0", "maxPageSize"),
        ("deleted-identities?stuck=perhaps", "stuck"),
        ("deleted-identities?continuation=x", "continuation"),
        ("deleted-identities?continuation=%F0%9F%98%80", "continuation"),
    ],
)
async def test_a_query_that_is_none_of_ours_is_a_400(api: Api, path: str, field: str) -> None:
    """It names the parameter."""
    reply = await api.get(path)

    problem = reply.assert_problem(400, "invalid_query")
    assert problem["field"] == field
