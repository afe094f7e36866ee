"""Who may call which operation, for every row of function_app.py and every kind of caller.

With `SERVICE_AUTHENTICATION=entra` nothing but the app itself decides this.
"""

import asyncio
import base64
import json
import re
import runpy
from types import SimpleNamespace
from typing import Any, NamedTuple, get_type_hints

import pytest
from azure.functions import HttpRequest, HttpResponse

from identity_service.limits import CALLS
from identity_service.policies import Role
from identity_service.schemas import IssuedTokenResponse, TeamsTokenResponse
from identity_service.services import Services
from tests.support.settings import MINIMAL
from tests.support.world import RETENTION, World
from tools.openapi.document import ROOT, Route, operations, routes

ROUTES = list(routes())
FOR_USERS = {route.name for route in ROUTES if route.path.partition("/")[0] == "me"}
PUBLIC = {"health"}
ENTRA = {"SERVICE_AUTHENTICATION": "entra", "WEBSITE_AUTH_ENABLED": "True"}

APP, OTHER_APP = "0a1b2c3d-aaaa-4bbb-8ccc-0123456789ab", "ffffffff-aaaa-4bbb-8ccc-0123456789ab"
OPEN, NOT_SIGNED_IN = "open", "401 not_signed_in"
NOT_ALLOWED, NOT_ENABLED = "403 not_allowed", "403 sign_in_not_enabled"

LONG_NAMES = {
    "oid": "http://schemas.microsoft.com/identity/claims/objectidentifier",
    "tid": "http://schemas.microsoft.com/identity/claims/tenantid",
    "sub": "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier",
    "scp": "http://schemas.microsoft.com/identity/claims/scope",
    "appid": "http://schemas.microsoft.com/identity/claims/appid",
    "roles": "http://schemas.microsoft.com/ws/2008/06/identity/claims/role",
}
SOMEONE = {
    "oid": "11111111-2222-3333-4444-555555555555",
    "tid": "99999999-8888-7777-6666-555555555555",
    "sub": "subject",
    "ver": "2.0",
}
ALL_ROLES = [*Role]
SERVICE = {**SOMEONE, "idtyp": "app", "azp": APP, "roles": ALL_ROLES}
USER = {**SOMEONE, "scp": "Identity.Use", "azp": APP}
ID_TOKEN = {**SOMEONE, "nonce": "n", "aud": "client"}

Claims = dict[str, Any]


class Caller(NamedTuple):
    """A kind of caller.

    Attributes:
        claims: The claims of its token. A list is one claim for each value.
        services: How operations for services respond, if they are not open to it.
        users: How operations for users respond.
        roles: The app roles that open operations for services to it. None: nothing opens them.
        name: What the log calls it in operations for services.
        provider: Who issued its token.
    """

    claims: Claims
    services: str = NOT_ALLOWED
    users: str = NOT_ALLOWED
    roles: set[Role] | None = None
    name: str = "-"
    provider: str = "aad"


def service(**claims: Any) -> Caller:
    """An application that counts as a service, with these claims."""
    found = {**SERVICE, **claims}
    roles = {Role(text) for text in found["roles"] if text in ALL_ROLES}
    return Caller(found, roles=roles, name=f"service:{APP}")


def without(claims: Claims, *names: str) -> Claims:
    """The claims without some of them."""
    return {name: value for name, value in claims.items() if name not in names}


CALLERS = {
    # Services
    **{f"application with {role}": service(roles=[role]) for role in Role},
    "application with all roles": service(),
    "application with two roles": service(roles=[Role.MANAGE, Role.ISSUE]),
    "application without roles": service(roles=[]),
    "application with other roles": service(roles=["Mail.Read", "identities.read", ""]),
    "application with roles in one text": service(roles=[" ".join(ALL_ROLES)]),
    "application with a part of a role": service(roles=["Identities", "Read", "Identities.*"]),
    "application of version 1": service(azp=[], appid=APP),
    "application with one id, twice": service(appid=APP.upper()),
    # Applications that are not recognised
    "application with two ids": Caller({**SERVICE, "appid": OTHER_APP}, NOT_SIGNED_IN),
    "application with two ids in a claim": Caller(
        {**SERVICE, "azp": [APP, OTHER_APP]}, NOT_SIGNED_IN
    ),
    "application without an id": Caller(without(SERVICE, "azp"), NOT_SIGNED_IN),
    "application with another kind of id": Caller({**SERVICE, "azp": "my-app"}, NOT_SIGNED_IN),
    "application with an id and more": Caller({**SERVICE, "azp": f"{APP}\n"}, NOT_SIGNED_IN),
    "application with a scope": Caller({**SERVICE, "scp": "Identity.Use"}),
    "application with an empty scope": Caller({**SERVICE, "scp": ""}),
    "application without a type": Caller(without(SERVICE, "idtyp")),
    "application with two types": Caller({**SERVICE, "idtyp": ["app", "user"]}),
    "application with a type in upper case": Caller({**SERVICE, "idtyp": "APP"}),
    "application of another provider": Caller(SERVICE, users=OPEN, provider="google"),
    # Users
    "user": Caller(USER, users=OPEN),
    "user with roles": Caller({**USER, "roles": ALL_ROLES}, users=OPEN),
    "user with a type": Caller({**USER, "roles": ALL_ROLES, "idtyp": "user"}, users=OPEN),
    "user of another provider": Caller({"sub": "s", "iss": "i"}, users=OPEN, provider="google"),
    "ID token": Caller(ID_TOKEN),
    "ID token with roles": Caller({**ID_TOKEN, "roles": ALL_ROLES, "azp": APP}),
    "ID token with a type": Caller({**ID_TOKEN, "roles": ALL_ROLES, "azp": APP, "idtyp": "user"}),
    # Nobody
    "no claims": Caller({}),
}


def header(caller: Caller, names: dict[str, str]) -> dict[str, str]:
    """The platform's header for the caller, with these names of claims."""
    listed = [
        {"typ": names.get(name, name), "val": value}
        for name, values in caller.claims.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    text = json.dumps({"auth_typ": caller.provider, "claims": listed})
    return {"x-ms-client-principal": base64.b64encode(text.encode()).decode()}


class App:
    """The functions of function_app.py, on an ACS resource and a registry in memory."""

    def __init__(self, environ: dict[str, str]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (MINIMAL | environ).items():
                patch.setenv(name, value)
            entry = runpy.run_path(str(ROOT / "function_app.py"))
        self.world = World()
        self.services: Services = entry["services"]
        self.services.clock, self.services.acs = self.world.clock, self.world.acs
        self.services.registry = self.world.registry
        self.services.teams_access = self.world.teams_access
        self.services.access_registry = self.world.access_registry
        self.services.resource = self.world.resource
        self.functions = {
            each.get_function_name(): each.get_user_function()
            for each in entry["app"].get_functions()
        }

    @property
    def calls(self) -> list[str]:
        """The calls to ACS and to the registry."""
        upstreams = (
            self.world.acs,
            self.world.registry,
            self.world.assignments,
            self.world.access_registry,
        )
        return [call for each in upstreams for call in each.calls]

    async def call(
        self, route: Route, headers: dict[str, str], body: bytes = b'{"wrong": 1}'
    ) -> HttpResponse:
        """The response to a request, which by default is too wrong to have an effect."""
        url = f"https://app.example/api/{route.path}?wrong=1"
        request = HttpRequest(
            route.method, url, headers=headers, route_params={"id": "wrong"}, body=body
        )
        context = SimpleNamespace(invocation_id=route.name)
        response: HttpResponse = await self.functions[route.name](request, context)
        return response

    async def access(self, headers: dict[str, str]) -> dict[str, str]:
        """How each operation responds to these headers: `open`, or the refusal."""
        return {route.name: await self._access(route, headers) for route in ROUTES}

    async def _access(self, route: Route, headers: dict[str, str]) -> str:
        before = self.calls
        response = await self.call(route, headers)
        if response.status_code not in (401, 403):
            return OPEN
        refusal = f"{response.status_code} {json.loads(response.get_body())['code']}"
        return refusal if self.calls == before else f"{refusal}, but after a call to an upstream"


def expected(caller: Caller) -> dict[str, str]:
    """How each operation should respond to a caller."""
    return {
        route.name: OPEN
        if route.name in PUBLIC
        else caller.users
        if route.name in FOR_USERS
        else OPEN
        if caller.roles is not None and caller.roles.issuperset(route.roles)
        else caller.services
        for route in ROUTES
    }


def everywhere(services: str, users: str) -> dict[str, str]:
    """These responses of the operations for services, and of those for users."""
    return expected(Caller({}, services, users))


@pytest.fixture
def app() -> App:
    """The app whose services use Entra."""
    return App(ENTRA)


def callers_in_log(caplog: pytest.LogCaptureFixture) -> dict[str, str]:
    """The caller in the log line of each operation."""
    lines = re.findall(r"operation_finished operation=(\w+) .* caller=(\S+) ", caplog.text)
    return dict(lines)


# What the rows say


def test_every_row_is_for_services_for_users_or_public() -> None:
    """A row has app roles, or its operation takes the signed-in user. Only `health` is public."""
    for_services = {route.name for route in ROUTES if route.roles}
    takes_user = {name for name, each in operations().items() if "caller" in get_type_hints(each)}

    assert takes_user == FOR_USERS
    assert {route.name for route in ROUTES} - for_services - takes_user == PUBLIC
    assert for_services.isdisjoint(takes_user)


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.roles], ids=lambda each: each.name
)
def test_roles_of_a_row(route: Route) -> None:
    """Reading needs Read, purging Purge, a token Issue, and every other change Manage.

    Teams Phone access has a role of its own for all of it.
    """
    returned = str(get_type_hints(operations()[route.name])["return"])
    gives_token = any(
        kind.__name__ in returned for kind in (IssuedTokenResponse, TeamsTokenResponse)
    )
    roles = [Role.ISSUE] if gives_token else []
    if route.path.startswith("teams/access"):
        roles = [Role.TEAMS]
    elif route.method == "GET":
        roles = [Role.READ]
    elif route.name == "purge_identity":
        roles = [Role.PURGE]
    elif not gives_token or route.name.startswith("create"):
        roles = [Role.MANAGE, *roles]

    assert list(route.roles) == roles


# Every operation with every caller


@pytest.mark.parametrize("names", [{}, LONG_NAMES], ids=["short names", "long names"])
@pytest.mark.parametrize("caller", CALLERS.values(), ids=CALLERS)
async def test_every_operation_with_every_caller(
    app: App, caplog: pytest.LogCaptureFixture, caller: Caller, names: dict[str, str]
) -> None:
    """An operation is open to a service with all its roles, or to a user, never to both."""
    caplog.set_level("INFO")

    seen = await app.access(header(caller, names))

    assert seen == expected(caller)
    user = "user" if caller.users == OPEN else "-"
    assert callers_in_log(caplog) == {
        route.name: user if route.name in FOR_USERS else caller.name
        for route in ROUTES
        if route.name not in {"health", "openapi"}
    }


UNREADABLE = {
    "nothing": {},
    "empty": {"x-ms-client-principal": ""},
    "no base64": {"x-ms-client-principal": "!"},
    "no JSON": {"x-ms-client-principal": base64.b64encode(b"{").decode()},
    "no principal": {"x-ms-client-principal": base64.b64encode(b"{}").decode()},
    "too large": {"x-ms-client-principal": "A" * 32772},
    "two principals": {
        "x-ms-client-principal": ",".join(2 * [*header(service(), {}).values()]),
    },
    "only the id of a principal": {"x-ms-client-principal-id": APP},
    "a function key": {"x-functions-key": "key"},
    "a token that nobody has checked": {"authorization": "Bearer token"},
}


@pytest.mark.parametrize("headers", UNREADABLE.values(), ids=UNREADABLE)
async def test_without_a_readable_principal(
    app: App, caplog: pytest.LogCaptureFixture, headers: dict[str, str]
) -> None:
    """Every operation but `health` is 401, also with a function key, which counts for nothing."""
    caplog.set_level("INFO")

    seen = await app.access(headers)

    assert seen == everywhere(NOT_SIGNED_IN, NOT_SIGNED_IN)
    assert app.calls == []
    assert set(callers_in_log(caplog).values()) == {"-"}


@pytest.mark.parametrize("enabled", ["False", "", "1", "yes"])
@pytest.mark.parametrize("name", ["application with all roles", "user", "no claims"])
async def test_without_sign_in_everything_is_denied(name: str, enabled: str) -> None:
    """Without App Service Authentication, anyone can send the header."""
    app = App({"SERVICE_AUTHENTICATION": "entra", "WEBSITE_AUTH_ENABLED": enabled})

    for headers in ({}, header(CALLERS[name], {})):
        assert await app.access(headers) == everywhere(NOT_ENABLED, NOT_ENABLED)
    assert app.calls == []


async def test_invalid_settings_open_nothing() -> None:
    """Callers are checked although other settings are invalid, before anything else."""
    app = App({**ENTRA, "PURGE_PROTECTION": "invalid"})

    assert await app.access({}) == everywhere(NOT_SIGNED_IN, OPEN)  # 503 for users
    assert await app.access(header(CALLERS["user"], {})) == everywhere(NOT_ALLOWED, OPEN)
    assert app.calls == []


@pytest.mark.parametrize("name", CALLERS)
async def test_with_keys_the_host_decides(caplog: pytest.LogCaptureFixture, name: str) -> None:
    """With function keys, a principal neither opens nor closes an operation for services."""
    caplog.set_level("INFO")
    app = App({"WEBSITE_AUTH_ENABLED": "True"})

    seen = await app.access(header(CALLERS[name], {}))

    assert seen == everywhere(OPEN, CALLERS[name].users)
    assert {route.name for route in ROUTES if route.roles} - {"openapi"} == {
        operation for operation, caller in callers_in_log(caplog).items() if caller == "key"
    }


# Refusals


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("user with roles", "This operation is for services"),
        ("ID token with roles", "idtyp=app"),
        ("application with Tokens.Issue", "The application lacks an app role"),
    ],
)
async def test_refusal_names_the_roles(app: App, name: str, detail: str) -> None:
    """The problem lists all roles that the operation requires, and says what is wrong."""
    route = row("create_identity_with_token")

    response = await app.call(route, header(CALLERS[name], {}))

    problem = json.loads(response.get_body())

    assert problem["allowed"] == "Identities.Manage, Tokens.Issue"
    assert detail in problem["detail"]
    assert APP not in str(problem)


async def test_refusal_comes_before_the_limit_of_running_calls(app: App) -> None:
    """A caller without a role gets 403, not the 503 of a full instance."""
    end = asyncio.Event()
    running = [
        asyncio.create_task(app.services.traffic.run("hangs", end.wait)) for _ in range(CALLS)
    ]
    await asyncio.sleep(0)

    seen = await app.access(header(CALLERS["application without roles"], {}))

    end.set()
    await asyncio.gather(*running)
    assert seen == everywhere(NOT_ALLOWED, NOT_ALLOWED)


# The log


def row(name: str) -> Route:
    """The row of an operation."""
    [found] = [route for route in ROUTES if route.name == name]
    return found


@pytest.mark.parametrize(
    ("environ", "name", "caller"),
    [
        (ENTRA, "create_identity", f"service:{APP}"),
        ({}, "create_identity", "key"),
        (ENTRA, "issue_my_token", "user"),
        ({"WEBSITE_AUTH_ENABLED": "True"}, "issue_my_token", "user"),
    ],
)
async def test_every_line_names_the_caller(
    caplog: pytest.LogCaptureFixture, environ: dict[str, str], name: str, caller: str
) -> None:
    """The lines about what an operation changes have the caller, but never who the user is."""
    caplog.set_level("INFO")
    kind = "user" if name in FOR_USERS else "application with all roles"

    response = await App(environ).call(row(name), header(CALLERS[kind], {}), b"{}")

    assert response.status_code in (200, 201)
    events = [message.split()[0] for message in caplog.messages]
    assert events == ["identity_activated", "operation_finished"]
    assert all(f" caller={caller} " in message for message in caplog.messages)
    assert SOMEONE["oid"] not in caplog.text


async def test_every_line_of_a_sweep_names_the_sweep(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    """What is purged on schedule was purged by the sweep."""
    caplog.set_level("INFO")
    await app.world.deleted()
    app.world.clock.advance(RETENTION)
    caplog.clear()

    await app.functions["purge_deleted_identities"](None, SimpleNamespace(invocation_id="1"))

    events = [message.split()[0] for message in caplog.messages]
    assert events == ["identity_purge_started", "identity_purged", "sweep_finished"]
    assert all(" caller=sweep " in message for message in caplog.messages)


async def test_user_beyond_the_budget_is_a_user_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The caller is known as soon as the sign-in is accepted."""
    caplog.set_level("INFO")
    app = App({"WEBSITE_AUTH_ENABLED": "True", "USER_CALLS_PER_MINUTE": "1"})

    for _ in range(2):
        await app.call(row("get_me"), header(CALLERS["user"], {}))

    found = re.findall(r"operation_finished .* code=(\S+) .* caller=(\S+)", caplog.text)
    assert found == [("identity_not_found", "user"), ("too_many_calls", "user")]
