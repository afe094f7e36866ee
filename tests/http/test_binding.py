"""Operations are bound when the app is loaded, and get their arguments from the request."""

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from azure.functions import AuthLevel, FunctionApp

from identity_service.errors import (
    InvalidBody,
    InvalidIdentityId,
    InvalidQuery,
    NotConfigured,
    NotSignedIn,
    ServiceError,
    SignInNotEnabled,
)
from identity_service.http.binding import BindingError, BoundOperation, Operation
from identity_service.http.triggers import Triggers, add_timer
from identity_service.identity import SignedInUser
from identity_service.lifecycle import Lifecycle
from identity_service.policies import DeletionPolicy, TokenPolicy
from identity_service.ports import Acs, Clock, Registry
from identity_service.schemas import (
    CreateIdentityRequest,
    IssueTokenRequest,
    ListDeletedIdentitiesQuery,
    Query,
)
from identity_service.services import Services
from identity_service.settings import Settings
from tests.http.edge import memory_services, request
from tests.support.acs_transport import IDENTITY
from tests.support.settings import MINIMAL
from tests.support.world import World

ROOT = Path(__file__).parents[2]
SIGNED_IN = {
    "x-ms-client-principal": base64.b64encode(
        json.dumps({"auth_typ": "google", "claims": [{"typ": "sub", "val": "1"}]}).encode()
    ).decode()
}


# What operations declare. Each of the wrong ones has one mistake.


async def right(
    identity_id: str,
    caller: SignedInUser,
    query: ListDeletedIdentitiesQuery,
    body: IssueTokenRequest,
) -> tuple[object, ...]:
    """Takes everything from the request."""
    return identity_id, caller.user_id, query.size, body.scopes


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


async def takes_body(body: CreateIdentityRequest) -> None:
    """Takes a body of which every field is optional."""


async def takes_query(query: Query) -> int:
    """Takes a query."""
    return query.size


async def takes_id(identity_id: str) -> str:
    """Takes the id."""
    return identity_id


async def takes_caller(caller: SignedInUser) -> str:
    """Takes the caller."""
    return caller.user_id


async def unknown_name(lifecicle: Lifecycle) -> None:
    """Has a typing error in a name."""


async def private_name(_reading: object) -> None:
    """Names a private attribute of the services."""


async def method_name(warm_up: object) -> None:
    """Names a method of the services."""


async def wrong_part(lifecycle: Registry) -> None:
    """Has the wrong type for a part of the services."""


async def wrong_setting(registered_only: str) -> None:
    """Has the wrong type for a setting."""


async def wrong_id(identity_id: int) -> None:
    """Has the wrong type for the id."""


async def wrong_caller(caller: str) -> None:
    """Has the wrong type for the caller."""


async def wrong_query(query: IssueTokenRequest) -> None:
    """Has a body as its query."""


async def wrong_body(body: Query) -> None:
    """Has a query as its body."""


async def untyped_body(body: dict[str, str]) -> None:
    """Has a body that is not checked."""


async def optional_body(body: IssueTokenRequest | None) -> None:
    """Has a body that can be None."""


async def no_annotation(acs) -> None:  # type: ignore[no-untyped-def]  # the mistake
    """Has a parameter without a type."""


WRONG = [
    unknown_name,
    private_name,
    method_name,
    wrong_part,
    wrong_setting,
    wrong_id,
    wrong_caller,
    wrong_query,
    wrong_body,
    untyped_body,
    optional_body,
    no_annotation,
]


@pytest.fixture
def services(world: World) -> Services:
    """Services whose upstreams are in memory. The platform checks sign-ins."""
    return memory_services(world, WEBSITE_AUTH_ENABLED="True")


async def refusal(operation: Operation, services: Services, **parts: object) -> ServiceError:
    """The error of an operation that is called with a request of these parts."""
    with pytest.raises(ServiceError) as caught:
        await BoundOperation(operation, services).call(request(**parts))  # type: ignore[arg-type]  # checked there
    return caught.value


@pytest.mark.parametrize("operation", WRONG, ids=lambda operation: operation.__name__)
def test_mistake_in_a_parameter(operation: Operation, services: Services) -> None:
    """A wrong name or a wrong type is an error when the operation is bound. It names both."""
    [parameter] = operation.__code__.co_varnames

    with pytest.raises(BindingError) as caught:
        BoundOperation(operation, services)

    assert operation.__name__ in str(caught.value)
    assert repr(parameter) in str(caught.value)


def test_unknown_name_lists_the_known_ones(services: Services) -> None:
    """The message has the names of the services' parts and of the settings."""
    with pytest.raises(BindingError, match=r"Known names: acs, .*lifecycle, .*registered_only"):
        BoundOperation(unknown_name, services)


@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_triggers_bind_at_once(method: str, services: Services) -> None:
    """Registering a trigger binds its operation."""
    triggers = Triggers(FunctionApp(), services, AuthLevel.FUNCTION)

    with pytest.raises(BindingError):
        getattr(triggers, method)("route", unknown_name)


def test_timer_binds_at_once(services: Services) -> None:
    """Registering a timer binds its operation."""
    with pytest.raises(BindingError):
        add_timer(FunctionApp(), services, "0 0 0 * * *", unknown_name)


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("operations/tokens.py", "    lifecycle: Lifecycle,", "    lifecicle: Lifecycle,"),
        ("operations/tokens.py", "registered_only: bool,", "registered_only: str,"),
        ("sweep.py", "cleanup: CleanupPolicy\n", "clean_up: CleanupPolicy\n"),
        ("", "", ""),
    ],
    ids=["name", "type", "timer", "no mistake"],
)
def test_app_with_a_mistake_does_not_load(
    tmp_path: Path, file: str, right: str, wrong: str
) -> None:
    """A mistake in one parameter of one operation stops the app at start. All others bind."""
    shutil.copy(ROOT / "function_app.py", tmp_path)
    shutil.copytree(ROOT / "identity_service", tmp_path / "identity_service")
    if file:
        source = tmp_path / "identity_service" / file
        assert right in source.read_text()
        source.write_text(source.read_text().replace(right, wrong, 1))

    run = subprocess.run(
        [sys.executable, "-B", "-c", "import function_app"],
        cwd=tmp_path,
        env=MINIMAL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ("BindingError" in run.stderr, run.returncode) == (bool(file), 1 if file else 0)


async def test_arguments_from_the_request(services: Services) -> None:
    """Id, caller, query and body come from the request, decoded."""
    req = request(
        identity_id=IDENTITY,
        query={"maxPageSize": "7", "stuck": "true"},
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


@pytest.mark.parametrize("identity_id", ["nobody", "", None])
async def test_invalid_id(services: Services, identity_id: str | None) -> None:
    """Text that is no identity's id never reaches the operation."""
    error = await refusal(takes_id, services, identity_id=identity_id)

    assert type(error) is InvalidIdentityId


async def test_invalid_query(services: Services) -> None:
    """An invalid query never reaches the operation."""
    error = await refusal(takes_query, services, query={"maxPageSize": "0"})

    assert (type(error), error.field) == (InvalidQuery, "maxPageSize")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "invalid_json"),
        (b"[]", "invalid_body"),
        (b'{"name":"x"}', "invalid_body"),
        (b" " * 16_385, "body_too_large"),
    ],
    ids=["no JSON", "array", "unknown field", "large"],
)
async def test_invalid_body(services: Services, body: bytes, code: str) -> None:
    """An invalid body never reaches the operation."""
    error = await refusal(takes_body, services, body=body)

    assert error.code == code


async def test_chunked_body_is_refused(services: Services) -> None:
    """The host drops chunked bodies. An empty body would create an identity without a user."""
    error = await refusal(takes_body, services, headers={"Transfer-Encoding": "Chunked"})

    assert (type(error), error.allowed) == (InvalidBody, "a body with a Content-Length")


async def test_caller_without_sign_in(services: Services) -> None:
    """A request without a signed-in user never reaches an operation that takes the caller."""
    error = await refusal(takes_caller, services)

    assert type(error) is NotSignedIn


@pytest.mark.parametrize("headers", [{}, SIGNED_IN])
async def test_caller_if_the_platform_checks_no_sign_ins(
    world: World, headers: dict[str, str]
) -> None:
    """Without the platform's setting, the header about the user is not trusted."""
    error = await refusal(takes_caller, memory_services(world), headers=headers)

    assert type(error) is SignInNotEnabled


async def never(deletion: DeletionPolicy) -> NoReturn:
    """Must not run."""
    raise AssertionError


async def test_invalid_settings(world: World) -> None:
    """With invalid settings, an operation that takes one does not run."""
    services = memory_services(world, PURGE_PROTECTION="yes")

    assert type(await refusal(never, services)) is NotConfigured
