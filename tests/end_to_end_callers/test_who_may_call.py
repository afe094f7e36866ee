"""Keys, tokens, both and neither, for every operation; and principals that nobody vouches for."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import jwt
import pytest

from local.entra import APP_AUDIENCE
from tests.end_to_end_callers.client import Client, Control, Me
from tests.end_to_end_callers.conftest import StartApp
from tests.end_to_end_callers.stack import ROOT, Azure

MINE = {
    "get_me": ("GET", "/api/me"),
    "issue_my_token": ("POST", "/api/me/tokens"),
    "revoke_my_tokens": ("DELETE", "/api/me/tokens"),
    "delete_me": ("DELETE", "/api/me"),
    "restore_me": ("POST", "/api/me/restore"),
    "exchange_my_teams_token": ("POST", "/api/me/teams-token"),
}
OPEN_TO_ALL = {"health"}
HOSTS_401, APPS_401 = "401 of the host", "401 not_signed_in"
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


async def doors(client: Client, headers: Mapping[str, str]) -> dict[str, str]:
    """How every HTTP operation of the app's metadata meets a caller with these headers."""
    return {
        function["name"]: await door(client, function, headers)
        for function in await client.functions()
        if function["trigger"] == "http"
    }


async def door(client: Client, function: dict[str, Any], headers: Mapping[str, str]) -> str:
    """`open`, or how it is shut. What is asked for is wrong enough to do nobody any harm."""
    [method] = function["methods"]
    path = "/api/" + function["route"].replace("{id}", "8:acs:nobody")
    reply = await client.call(method, path, headers, {"wrong": 1} if method == "POST" else None)
    if reply.status not in (401, 403):
        assert reply.status == 204 or reply.json()
        return "open"
    if reply.status == 401 and not reply.body:
        return HOSTS_401
    if reply.status == 401:
        assert reply.headers["WWW-Authenticate"] == "Bearer"
    return f"{reply.status} {reply.code}"


def expected(seen: Mapping[str, str], *, services: str, users: str) -> dict[str, str]:
    """How all of them should meet the caller."""

    def one(name: str) -> str:
        if name in OPEN_TO_ALL:
            return "open"
        return users if name in MINE else services

    return {name: one(name) for name in seen}


async def test_the_apps_metadata_know_the_users_operations(client: Client) -> None:
    """These six, without a key; every other one wants one, but for those that tell nothing."""
    functions = [each for each in await client.functions() if each["trigger"] == "http"]

    mine = {
        each["name"]: (each["methods"][0], f"/api/{each['route']}")
        for each in functions
        if each["authLevel"] == "anonymous" and each["name"] not in OPEN_TO_ALL
    }
    assert mine == MINE
    assert all(each["authLevel"] in ("anonymous", "function") for each in functions)


@pytest.mark.parametrize("forged", [{}, WITH_FORGED], ids=["plain", "with a forged principal"])
@pytest.mark.parametrize(
    ("brings", "services", "users"),
    [
        ("nothing", HOSTS_401, APPS_401),
        ("a key", "open", APPS_401),
        ("a token", HOSTS_401, "open"),
        ("both", "open", "open"),
    ],
)
async def test_every_operation_meets_every_caller(  # noqa: PLR0913, PLR0917 -- a matrix
    client: Client, me: Me, brings: str, services: str, users: str, forged: dict[str, str]
) -> None:
    """A user's token opens no operation of services, a key none of users."""
    headers = {
        "nothing": {},
        "a key": client.key,
        "a token": me.bearer,
        "both": client.key | me.bearer,
    }[brings]

    seen = await doors(client, headers | forged)

    assert len(seen) >= 20
    assert seen == expected(seen, services=services, users=users)


async def test_a_wrong_token_opens_nothing_even_with_a_key(client: Client) -> None:
    """The platform refuses it before the app is asked; the host's own endpoints stand aside."""
    seen = await doors(client, client.key | {"Authorization": "Bearer wrong"})

    assert set(seen.values()) == {HOSTS_401}


async def test_without_sign_in_every_operation_of_users_is_shut(
    start_app: StartApp, control: Control, name: str
) -> None:
    """To everybody, with the way to open it; settings cannot, and services do not mind."""
    client = start_app(signs_in=False, WEBSITE_AUTH_ENABLED="True")
    bearer = Me(client, await control.sign_in(name)).bearer

    for headers in ({}, bearer, WITH_FORGED, WITH_FORGED | bearer, client.key | WITH_FORGED):
        seen = await doors(client, headers)
        services = "open" if "x-functions-key" in headers else HOSTS_401
        assert seen == expected(seen, services=services, users="403 sign_in_not_enabled")

    said = (await client.call("GET", "/api/me", {})).problem(403, "sign_in_not_enabled")
    assert "Switch on App Service Authentication" in said["detail"]


async def test_who_is_not_signed_in_is_told_so(client: Client) -> None:
    """As a problem, with the scheme to sign in by."""
    reply = await client.call("POST", "/api/me/tokens", {})

    reply.problem(401, "not_signed_in")
    assert reply.headers["WWW-Authenticate"] == "Bearer"


async def test_a_cookie_signs_nobody_in(client: Client, me: Me) -> None:
    """Locally there are none; in Azure the platform refuses a foreign page's (docs/security.md)."""
    token = me.bearer["Authorization"].split()[1]

    reply = await client.call("GET", "/api/me", {"Cookie": f"AppServiceAuthSession={token}"})

    reply.problem(401, "not_signed_in")


def unsigned(token: str, **header: str) -> str:
    """The same claims, signed by nobody."""
    parts = token.split(".")
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    return f"{head}.{parts[1]}."


def of_a_stranger(token: str) -> str:
    """The same claims, signed by somebody else."""
    said = jwt.decode(token, options={"verify_signature": False})
    head = jwt.get_unverified_header(token)
    secret = "x" * 64
    return jwt.encode(said, secret, algorithm="HS256", headers={"kid": head["kid"]})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: unsigned(token, alg="none", typ="JWT"),
        lambda token: unsigned(token, alg="RS256", typ="JWT"),
        of_a_stranger,
        lambda token: token[:-8] + "AAAAAAAA",
        lambda token: token + ".x",
        lambda token: "garbage",
    ],
    ids=["alg none", "no signature", "HS256", "wrong signature", "four parts", "garbage"],
)
async def test_a_spoilt_token_is_401(
    client: Client, control: Control, name: str, spoil: Callable[[str], str]
) -> None:
    """Though it says who it is."""
    me = Me(client, spoil(await control.sign_in(name)))

    replies = [await me.get(), await me.token()]

    for reply in replies:
        assert (reply.status, reply.body) == (401, b"")
        assert reply.headers["WWW-Authenticate"] == "Bearer"


async def test_an_expired_token_is_401(client: Client, control: Control, name: str) -> None:
    """Signed by the right issuer for the right audience, a minute too old."""
    me = Me(client, await control.sign_in(name, minutes=-1))

    assert (await me.get()).status == 401


async def test_a_token_for_another_audience_is_401(
    client: Client, control: Control, azure: Azure, oid: str
) -> None:
    """Of the same tenant and the same user, but for Teams, or an identity's own access token."""
    me = Me(client, await control.teams_token(oid))
    key = {"x-functions-key": azure.env["FUNCTION_KEY"]}
    made = await client.call("POST", "/api/identities/with-token", key, {"scopes": ["chat"]})
    acs = Me(client, made.success(201)["token"])

    assert [(await each.get()).status for each in (me, acs)] == [401, 401]


async def test_the_audience_is_the_apps_registration(control: Control) -> None:
    """What a client asks a token for."""
    configuration = await control.ask("GET", "sign-in")

    assert configuration["audience"] == APP_AUDIENCE == "api://acs-identity-service"


def test_no_settings_file_of_ours_says_that_sign_ins_are_checked(azure: Azure) -> None:
    """The platform says it: by hand it would open the door to forged principals."""
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
