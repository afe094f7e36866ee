"""Operations are bound when the app is loaded, and get their arguments from the request."""

import base64
import json
import re
from inspect import Parameter, Signature

import pytest
from azure.functions import FunctionApp

from identity_service.errors import InvalidBody, NotConfigured, ServiceError, SignInNotEnabled
from identity_service.http.binding import BindingError, BoundOperation, Operation
from identity_service.http.triggers import Triggers, add_timer
from identity_service.identity import SignedInUser
from identity_service.lifecycle import Lifecycle
from identity_service.policies import DeletionPolicy, Role, TokenPolicy
from identity_service.ports import Acs, Clock, Registry
from identity_service.schemas import (
    CreateIdentityRequest,
    IssueTokenRequest,
    ListDeletedIdentitiesQuery,
    Query,
)
from identity_service.services import Services
from identity_service.settings import Settings
from tests.http.edge import URL, memory_services, request
from tests.support.acs_transport import IDENTITY
from tests.support.world import World

SIGNED_IN = {
    "x-ms-client-principal": base64.b64encode(
        json.dumps({"auth_typ": "google", "claims": [{"typ": "sub", "val": "1"}]}).encode()
    ).decode()
}


async def right(
    identity_id: str,
    caller: SignedInUser,
    query: ListDeletedIdentitiesQuery,
    body: IssueTokenRequest,
) -> tuple[object, ...]:
    """Takes everything from the request."""
    return identity_id, caller.user_id, query.max_page_size, body.scopes


async def right_parts(
    acs: Acs, registry: Registry, lifecycle: Lifecycle, clock: Clock
) -> tuple[object, ...]:
    """Takes parts of the services."""
    return acs, registry, lifecycle, clock


async def right_settings(
    deletion: DeletionPolicy, user_tokens: TokenPolicy, registered_only: bool, settings: Settings
) -> tuple[object, ...]:
    """Takes settings."""
    return deletion, user_tokens, registered_only, settings


def taking(name: str, kind: object) -> Operation:
    """An operation with this parameter, which it returns."""

    async def operation(**arguments: object) -> object:
        return arguments[name]

    parameter = Parameter(name, Parameter.KEYWORD_ONLY)
    operation.__signature__ = Signature([parameter])  # type: ignore[attr-defined]  # read by inspect
    operation.__annotations__ = {} if kind is None else {name: kind}
    return operation


# Names and types of parameters, each with one mistake.
WRONG: dict[str, tuple[str, object]] = {
    "typing error in the name": ("lifecicle", Lifecycle),
    "private attribute of the services": ("_reading", object),
    "method of the services": ("warm_up", object),
    "wrong part of the services": ("lifecycle", Registry),
    "wrong type of a setting": ("registered_only", str),
    "wrong type of the id": ("identity_id", int),
    "wrong type of a tenant id": ("tenant_id", int),
    "wrong type of the caller": ("caller", str),
    "body as query": ("query", IssueTokenRequest),
    "query as body": ("body", Query),
    "body that is not checked": ("body", dict[str, str]),
    "body that can be None": ("body", IssueTokenRequest | None),
    "no type": ("acs", None),
}
unknown_name = taking(*WRONG["typing error in the name"])
takes_body = taking("body", CreateIdentityRequest)
takes_caller = taking("caller", SignedInUser)


@pytest.fixture
def services(world: World) -> Services:
    """Services whose upstreams are in memory. The platform checks sign-ins."""
    return memory_services(world, WEBSITE_AUTH_ENABLED="True")


async def refusal(operation: Operation, services: Services, **parts: object) -> ServiceError:
    """The error of an operation that is called with a request of these parts."""
    with pytest.raises(ServiceError) as caught:
        await BoundOperation(operation, services).call(request(**parts))  # type: ignore[arg-type]  # checked there
    return caught.value


@pytest.mark.parametrize(("name", "kind"), list(WRONG.values()), ids=list(WRONG))
def test_mistake_in_a_parameter(name: str, kind: object, services: Services) -> None:
    """A wrong name or a wrong type is an error when the operation is bound. It names both."""
    with pytest.raises(BindingError, match=f"^operation: .*{name!r}"):
        BoundOperation(taking(name, kind), services)


def test_unknown_name_lists_the_known_ones(services: Services) -> None:
    """The message has the names of the services' parts and of the settings."""
    with pytest.raises(BindingError, match=r"Known names: .*acs, .*lifecycle, .*registered_only"):
        BoundOperation(unknown_name, services)


@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_triggers_bind_at_once(method: str, services: Services) -> None:
    """Registering a trigger binds its operation."""
    triggers = Triggers(FunctionApp(), services, for_services=False)

    with pytest.raises(BindingError):
        getattr(triggers, method)("route", unknown_name)


def test_timer_binds_at_once(services: Services) -> None:
    """Registering a timer binds its operation."""
    with pytest.raises(BindingError):
        add_timer(FunctionApp(), services, "0 0 0 * * *", unknown_name)


def test_timer_has_no_request(services: Services) -> None:
    """An operation that takes something from a request cannot run on a timer."""
    with pytest.raises(BindingError, match="a timer has no request"):
        add_timer(FunctionApp(), services, "0 0 0 * * *", right)


@pytest.mark.parametrize(
    ("name", "part"),
    [("identity_id", "{id}"), ("tenant_id", "{tenantId}"), ("object_id", "{objectId}")],
)
def test_route_has_the_id_that_the_operation_takes(
    services: Services, name: str, part: str
) -> None:
    """Without it in its route, the operation would never get an id."""
    triggers = Triggers(FunctionApp(), services, for_services=False)

    with pytest.raises(BindingError, match=f"has no {re.escape(part)}"):
        triggers.get("things/{other}", taking(name, str))


@pytest.mark.parametrize("method", ["get", "probe", "post", "put", "delete"])
@pytest.mark.parametrize(("for_services", "roles"), [(True, ()), (False, (Role.READ,))])
def test_row_says_who_may_call(
    services: Services, method: str, for_services: bool, roles: tuple[Role, ...]
) -> None:
    """A row for services has app roles, and no other row has any."""
    triggers = Triggers(FunctionApp(), services, for_services=for_services)

    with pytest.raises(BindingError, match=r"^operation: a row needs app roles if"):
        getattr(triggers, method)("route", taking("clock", Clock), *roles)


def test_service_is_not_a_signed_in_user(services: Services) -> None:
    """An operation that takes the signed-in user cannot be one for services."""
    triggers = Triggers(FunctionApp(), services, for_services=True)

    with pytest.raises(BindingError, match=r"^operation: a service is no signed-in user"):
        triggers.get("me", takes_caller, Role.READ)


def test_operation_is_async(services: Services) -> None:
    """A function that is not async would block the worker's event loop."""
    with pytest.raises(BindingError, match="async"):
        BoundOperation(len, services)  # type: ignore[arg-type]  # that is the mistake


async def test_arguments_from_the_request(services: Services) -> None:
    """Id, caller, query and body come from the request, decoded."""
    req = request(
        f"{URL}?maxPageSize=7&stuck=true",
        identity_id=IDENTITY,
        headers=SIGNED_IN,
        body=b'{"scopes":["chat"]}',
    )
    result = await BoundOperation(right, services).call(req)

    assert result == (IDENTITY, "google/-/1", 7, ["chat"])


async def test_arguments_from_the_services(services: Services, world: World) -> None:
    """Parts of the services come by their names."""
    acs, registry, lifecycle, clock = await BoundOperation(right_parts, services).run()

    assert (acs, registry, clock) == (world.acs, world.registry, world.clock)
    assert lifecycle is services.lifecycle


async def test_arguments_from_the_settings(services: Services) -> None:
    """Settings come by their names."""
    result = await BoundOperation(right_settings, services).run()

    settings = services.settings
    assert result == (settings.deletion, settings.user_tokens, False, settings)


async def test_chunked_body_is_refused(services: Services) -> None:
    """The host drops chunked bodies. An empty body would create an identity without a user."""
    error = await refusal(takes_body, services, headers={"Transfer-Encoding": "Chunked"})

    assert (type(error), error.allowed) == (InvalidBody, "a body with a Content-Length")


@pytest.mark.parametrize("headers", [{}, SIGNED_IN])
async def test_caller_if_the_platform_checks_no_sign_ins(
    world: World, headers: dict[str, str]
) -> None:
    """Without the platform's setting, the header about the user is not trusted."""
    error = await refusal(takes_caller, memory_services(world), headers=headers)

    assert type(error) is SignInNotEnabled


INVALID: dict[str, tuple[Operation, dict[str, object], str]] = {
    "id": (taking("identity_id", str), {"identity_id": "nobody"}, "invalid_identity_id"),
    "field of the body in the query": (
        takes_body,
        {"url": f"{URL}?userId=alice"},
        "invalid_query",
    ),
    "empty id": (taking("identity_id", str), {"identity_id": ""}, "invalid_identity_id"),
    "no id": (taking("identity_id", str), {}, "invalid_identity_id"),
    "query": (taking("query", Query), {"url": f"{URL}?maxPageSize=0"}, "invalid_query"),
    "no JSON": (takes_body, {"body": b"{"}, "invalid_json"),
    "array": (takes_body, {"body": b"[]"}, "invalid_body"),
    "unknown field": (takes_body, {"body": b'{"name":"x"}'}, "invalid_body"),
    "large body": (takes_body, {"body": b" " * 16_385}, "body_too_large"),
    "nobody signed in": (takes_caller, {}, "not_signed_in"),
    # Callers who are not signed in get 401 for everything: 401 counts in no alert.
    "nobody signed in, and a wrong query": (
        takes_caller,
        {"url": f"{URL}?userId=alice"},
        "not_signed_in",
    ),
    "parameter of other operations": (
        taking("identity_id", str),
        {"identity_id": IDENTITY, "url": f"{URL}?userId=alice"},
        "invalid_query",
    ),
    "body of other operations": (
        taking("identity_id", str),
        {"identity_id": IDENTITY, "body": b'{"userId":"alice"}'},
        "invalid_body",
    ),
}


@pytest.mark.parametrize(("operation", "parts", "code"), list(INVALID.values()), ids=list(INVALID))
async def test_invalid_request(
    services: Services, operation: Operation, parts: dict[str, object], code: str
) -> None:
    """What is invalid in a request never reaches the operation."""
    assert (await refusal(operation, services, **parts)).code == code


async def test_invalid_settings(world: World) -> None:
    """With invalid settings, an operation that takes one does not run."""
    services = memory_services(world, PURGE_PROTECTION="yes")
    error = await refusal(taking("deletion", DeletionPolicy), services)

    assert type(error) is NotConfigured
