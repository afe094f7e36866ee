"""Every operation with a key, with a user's token, with both, with neither, and with forgeries."""

import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from local.entra import object_id
from tests.support.client import Client, Control, Me
from tests.support.fixtures import StartApp
from tests.support.stack import ROOT, Azure
from tools.openapi.document import routes

FOR_USERS = {
    route.name: (route.method, route.path) for route in routes() if route.path.startswith("me")
}
PUBLIC = {"health"}
HOST_401, APP_401 = "401 from the host", "401 not_signed_in"
FORGED = base64.b64encode(
    json.dumps(
        {
            "auth_typ": "aad",
            "claims": [
                {"typ": "oid", "val": "11111111-2222-3333-4444-555555555555"},
                {"typ": "tid", "val": "99999999-8888-7777-6666-555555555555"},
            ],
        }
    ).encode()
).decode()
WITH_FORGED = {"X-MS-CLIENT-PRINCIPAL": FORGED, "X-MS-CLIENT-PRINCIPAL-ID": "forged"}


async def access(api: Client, headers: Mapping[str, str]) -> dict[str, str]:
    """Returns how each operation responds to these headers: `open`, or the refusal."""
    return {each["name"]: await call(api, each, headers) for each in await api.http_functions()}


async def call(api: Client, function: dict[str, Any], headers: Mapping[str, str]) -> str:
    """Calls one operation with a request that is too wrong to have an effect."""
    method, *_ = function["methods"]
    path = function["route"].replace("{id}", "8:acs:unknown")
    body = {"wrong": 1} if method == "POST" else None
    reply = await api.call(method, path, body, headers=headers)
    if reply.status not in (401, 403):
        assert reply.status == 204 or reply.json()
        return "open"
    if reply.status == 401 and not reply.body:
        return HOST_401
    reply.assert_problem(reply.status, reply.code)
    if reply.status == 401:
        assert reply.headers["WWW-Authenticate"] == "Bearer"
    return f"{reply.status} {reply.code}"


def expected(seen: Mapping[str, str], *, services: str, users: str) -> dict[str, str]:
    """Returns how the operations for services and those for users should respond."""
    return {
        name: "open" if name in PUBLIC else users if name in FOR_USERS else services
        for name in seen
    }


async def test_only_the_operations_for_users_need_no_key(api: Client) -> None:
    """The host requires a key for every other operation, except for `health`."""
    functions = await api.http_functions()

    without_key = {
        each["name"]: (each["methods"][0], each["route"])
        for each in functions
        if each["authLevel"] == "anonymous" and each["name"] not in PUBLIC
    }
    assert without_key == FOR_USERS
    assert all(each["authLevel"] in ("anonymous", "function") for each in functions)


@pytest.mark.parametrize("forged", [{}, WITH_FORGED], ids=["plain", "with a forged principal"])
@pytest.mark.parametrize(
    ("caller", "services", "users"),
    [
        ("nothing", HOST_401, APP_401),
        ("a wrong key", HOST_401, APP_401),
        ("a key", "open", APP_401),
        ("a token", HOST_401, "open"),
        ("both", "open", "open"),
    ],
)
async def test_every_operation_with_every_caller(  # noqa: PLR0913, PLR0917 -- a matrix
    api: Client, me: Me, caller: str, services: str, users: str, forged: dict[str, str]
) -> None:
    """A user's token opens no operation for services, and a key none for users."""
    headers: Mapping[str, str] = {
        "nothing": {},
        "a wrong key": {"x-functions-key": "wrong"},
        "a key": api.headers,
        "a token": me.headers,
        "both": {**api.headers, **me.headers},
    }[caller]

    seen = await access(api, {**headers, **forged})

    assert len(seen) >= 20
    assert seen == expected(seen, services=services, users=users)


@pytest.mark.parametrize("name", ["code", "Code", "CODE"])
async def test_the_name_of_a_key_in_the_url_is_case_insensitive(api: Client, name: str) -> None:
    """A list does not refuse any spelling as an unknown query parameter."""
    query = f"{name}={api.app.function_key}"

    (await api.call("GET", f"identities?{query}", headers={})).assert_success()


async def test_with_a_wrong_token_every_operation_is_401(api: Client) -> None:
    """The platform refuses it before it checks the key."""
    seen = await access(api, {**api.headers, "Authorization": "Bearer wrong"})

    assert set(seen.values()) == {HOST_401}


async def test_without_sign_in_every_operation_for_users_is_403(
    start_app: StartApp, control: Control, user: str
) -> None:
    """No setting of the app can turn sign-in on; the problem says how to do it."""
    api = start_app(signs_in=False, WEBSITE_AUTH_ENABLED="True")
    bearer = api.signed_in(await control.sign_in(user)).headers

    for headers in (
        {},
        bearer,
        WITH_FORGED,
        {**WITH_FORGED, **bearer},
        {**WITH_FORGED, **api.headers},
    ):
        seen = await access(api, headers)
        services = "open" if "x-functions-key" in headers else HOST_401
        assert seen == expected(seen, services=services, users="403 sign_in_not_enabled")

    problem = (await api.call("GET", "me", headers={})).assert_problem(403, "sign_in_not_enabled")
    assert "App Service Authentication" in problem["detail"]


async def test_a_cookie_does_not_sign_in(api: Client, me: Me) -> None:
    """The local front end has no cookies; docs/security.md describes those of Azure."""
    cookie = {"Cookie": f"AppServiceAuthSession={me.sign_in_token}"}

    reply = await api.call("GET", "me", headers=cookie)

    reply.assert_problem(401, "not_signed_in")


# Each returns a token that is wrong in one way.
WRONG_TOKENS: dict[str, Callable[[Client, Control, str], Awaitable[str]]] = {
    "altered": lambda _, control, user: altered(control, user, "AAAAAAAA"),
    "unsigned": lambda _, control, user: altered(control, user, ""),
    "expired": lambda _, control, user: control.sign_in(user, minutes=-1),
    "for Teams": lambda _, control, user: control.teams_token(object_id(user)),
    "for ACS": lambda api, _, user: acs_token(api),
}


async def altered(control: Control, user: str, signature: str) -> str:
    """Returns a user's token with another signature."""
    return f"{(await control.sign_in(user)).rpartition('.')[0]}.{signature}"


async def acs_token(api: Client) -> str:
    """Returns an access token."""
    return await api.new_token(await api.new_identity())


@pytest.mark.parametrize("name", WRONG_TOKENS)
async def test_an_invalid_token_is_401(api: Client, control: Control, user: str, name: str) -> None:
    """The response of the platform has no body."""
    me = api.signed_in(await WRONG_TOKENS[name](api, control, user))

    for reply in [await me.read(), await me.issue()]:
        reply.assert_from_host(401)
        assert reply.headers["WWW-Authenticate"] == "Bearer"


def test_no_file_sets_website_auth_enabled(azure: Azure) -> None:
    """Only the platform may set it. Set by hand, it would make forged principals count."""
    folders = [ROOT / "infra", ROOT / "examples"]
    files = [ROOT / "local.settings.sample.json", ROOT / "host.json", ROOT / "azure.yaml"]
    kinds = {".bicep", ".bicepparam", ".json", ".yaml", ".yml", ".env", ".sh", ".toml"}
    files += [
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix in kinds and "node_modules" not in path.parts
    ]
    texts = {path.name: path.read_text() for path in files if path.is_file()}
    texts["written by `python -m local azure`"] = azure.settings_file

    assert [name for name, text in texts.items() if "WEBSITE_AUTH_ENABLED" in text.upper()] == []
    assert len(texts) >= 3
