"""Services that authenticate with Entra: every operation with every role and every other caller."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from identity_service.policies import Role
from local.entra import ROLES, application_id
from tests.end_to_end.test_who_may_call import (
    APP_401,
    FOR_USERS,
    HOST_401,
    PUBLIC,
    WITH_FORGED,
    access,
)
from tests.support.client import CHAT, Client, Control
from tests.support.fixtures import StartApp
from tests.support.stack import App, Azure, running_app

ENTRA = {"SERVICE_AUTHENTICATION": "entra"}
NOT_ALLOWED = "403 not_allowed"
# What an application with one role may do. create_identity_with_token needs two roles.
OPENED = {
    "Identities.Read": {
        "get_deleted_identity",
        "get_identity",
        "list_deleted_identities",
        "list_identities",
        "openapi",
        "ready",
    },
    "Identities.Manage": {
        "create_identity",
        "delete_identity",
        "import_identities",
        "register_identity",
        "restore_identity",
        "resume_identity",
        "revoke_tokens",
        "suspend_identity",
        "unregister_identity",
    },
    "Identities.Purge": {"purge_identity"},
    "Tokens.Issue": {"exchange_teams_token", "issue_token"},
    "TeamsAccess.Manage": {
        "assign_teams_access",
        "get_teams_access",
        "import_teams_access",
        "list_teams_access",
        "remove_teams_access",
    },
}
WITH_TWO_ROLES = {"create_identity_with_token"}


@pytest.fixture(scope="module", params=["long", "short"])
def app(
    request: pytest.FixtureRequest, azure: Azure, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[App]:
    """An app for services with Entra, behind a front end that gives claims these names."""
    sign_in = json.dumps({**json.loads(azure.sign_in), "names": request.param})
    trusting = replace(azure, sign_in=sign_in)
    with running_app(trusting, tmp_path_factory.mktemp("app"), ENTRA) as started:
        yield started


async def service(api: Client, control: Control, *roles: str, minutes: float = 60) -> Client:
    """An application with these roles, which calls the app of `api`."""
    return api.signed_in(await control.app_token("billing", *roles, minutes=minutes))


def test_the_local_tenant_has_the_apps_roles() -> None:
    """The app and the local tenant define the same ones."""
    assert set(ROLES) == set(Role) == OPENED.keys()


async def test_the_host_requires_no_key(api: Client) -> None:
    """The app decides about every operation."""
    assert {each["authLevel"] for each in await api.http_functions()} == {"anonymous"}


@pytest.mark.parametrize(
    "roles", [(), *((role,) for role in ROLES), ROLES], ids=lambda roles: "+".join(roles) or "none"
)
async def test_an_application_opens_what_its_roles_allow(
    api: Client, control: Control, roles: tuple[str, ...]
) -> None:
    """Whatever its roles, it opens no operation for users."""
    allowed = PUBLIC.union(*(OPENED[role] for role in roles))
    allowed |= WITH_TWO_ROLES if set(roles) >= {"Identities.Manage", "Tokens.Issue"} else set()

    seen = await access(api, (await service(api, control, *roles)).headers)

    assert seen == {name: "open" if name in allowed else NOT_ALLOWED for name in seen}
    assert len(seen) >= 20


@pytest.mark.parametrize("forged", [{}, WITH_FORGED], ids=["plain", "with a forged principal"])
@pytest.mark.parametrize(
    ("caller", "services", "users"),
    [
        ("nothing", APP_401, APP_401),
        ("a key", APP_401, APP_401),
        ("a user", NOT_ALLOWED, "open"),
        ("a user with a key", NOT_ALLOWED, "open"),
    ],
)
async def test_no_other_caller_opens_an_operation_for_services(  # noqa: PLR0913, PLR0917 -- a matrix
    api: Client,
    control: Control,
    user: str,
    caller: str,
    services: str,
    users: str,
    forged: dict[str, str],
) -> None:
    """A function key counts for nothing, and users keep their own operations."""
    key, signed_in = api.headers, api.signed_in(await control.sign_in(user)).headers
    headers: Mapping[str, str] = {
        "nothing": {},
        "a key": key,
        "a user": signed_in,
        "a user with a key": {**key, **signed_in},
    }[caller]

    seen = await access(api, {**headers, **forged})

    assert seen == {
        name: "open" if name in PUBLIC else users if name in FOR_USERS else services
        for name in seen
    }


async def test_an_invalid_token_of_an_application_is_401(api: Client, control: Control) -> None:
    """It has expired, or its signature is wrong. The platform refuses it."""
    expired = await service(api, control, *ROLES, minutes=-1)
    valid = (await control.app_token("billing", *ROLES)).rpartition(".")[0]
    altered = api.signed_in(f"{valid}.AAAAAAAA")

    for caller in (expired, altered):
        (await caller.get("identities")).assert_from_host(401)


async def test_the_log_names_the_application(api: Client, control: Control) -> None:
    """A service creates an identity with a token, and every line about the call says who it was."""
    caller = await service(api, control, "Identities.Manage", "Tokens.Issue")

    created = (await caller.post("identities/with-token", CHAT)).assert_success(201)

    lines = [line for line in api.app.log.splitlines() if created["id"] in line]
    assert lines
    named = f" caller=service:{application_id('billing')}"
    assert [line for line in lines if named not in line] == []


async def test_without_sign_in_every_operation_is_403(
    start_app: StartApp, control: Control
) -> None:
    """Then nobody checks tokens: neither a key, nor a token, nor a forged principal helps."""
    api = start_app(signs_in=False, **ENTRA)
    bearer = (await service(api, control, *ROLES)).headers

    for headers in ({}, api.headers, bearer, WITH_FORGED):
        seen = await access(api, headers)
        assert seen == {
            name: "open" if name in PUBLIC else "403 sign_in_not_enabled" for name in seen
        }


@pytest.mark.parametrize("value", ["", "Entra", "keys,entra"])
async def test_with_another_value_the_host_requires_a_key(
    start_app: StartApp, control: Control, value: str
) -> None:
    """A misspelled value opens nothing: an application's token does not replace a key."""
    api = start_app(SERVICE_AUTHENTICATION=value)
    bearer = (await service(api, control, *ROLES)).headers

    for function in await api.http_functions():
        is_public = function["name"] in PUBLIC | FOR_USERS.keys()
        assert function["authLevel"] == ("anonymous" if is_public else "function")
    (await api.call("GET", "identities", headers=bearer)).assert_from_host(401)
    (await api.call("POST", "identities", headers=bearer)).assert_from_host(401)


async def test_with_keys_an_application_opens_nothing(
    start_app: StartApp, control: Control
) -> None:
    """Its token is no key, and it is no user."""
    api = start_app(SERVICE_AUTHENTICATION="keys")

    seen = await access(api, (await service(api, control, *ROLES)).headers)

    assert seen == {
        name: "open" if name in PUBLIC else NOT_ALLOWED if name in FOR_USERS else HOST_401
        for name in seen
    }
