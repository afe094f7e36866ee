"""Connects an operation's parameters to the request, to `Services` and to `Settings`.

This happens when the app is loaded. A wrong name or a wrong type stops the app at start.
"""

from collections.abc import Awaitable, Callable, Collection
from functools import cached_property
from inspect import iscoroutinefunction, signature
from typing import Any, get_type_hints

from azure.functions import HttpRequest

from identity_service.errors import InvalidBody
from identity_service.http.decoding import (
    decode_body,
    decode_query,
    refuse_ignored_body,
    refuse_ignored_query,
)
from identity_service.http.principal import admit_service, signed_in_user
from identity_service.identity import SignedInUser, identity_id
from identity_service.log import current_invocation
from identity_service.policies import Role, ServiceAuthentication
from identity_service.schemas import Query, Request, checked_guid
from identity_service.services import Services
from identity_service.settings import Settings

Operation = Callable[..., Awaitable[Any]]
_Source = Callable[[HttpRequest], Any]

# The parameters that come from the route, each with its name there.
FROM_ROUTE = {"identity_id": "id", "tenant_id": "tenantId", "object_id": "objectId"}
# The parameters that come from a request.
FROM_REQUEST = {*FROM_ROUTE, "caller", "query", "body"}
# Whatever changes something has one of them.
_CHANGING = {"lifecycle", "teams_access"}


class BindingError(Exception):
    """An operation has a parameter that nothing provides, or that has the wrong type.

    Or its row in function_app.py does not say who may call it.
    """


class BoundOperation:
    """An operation that knows where each of its parameters comes from.

    Attributes:
        parameters: The names of its parameters.
        roles: The app roles that a service needs. Empty: it is not for services.

    Raises:
        BindingError: nothing provides a parameter, or a service cannot be the caller it takes.
    """

    def __init__(
        self, operation: Operation, services: Services, roles: Collection[Role] = ()
    ) -> None:
        self.name = operation.__name__
        self.roles = roles
        self._operation = operation
        self._services = services
        if not iscoroutinefunction(operation):
            raise BindingError(f"{self.name}: an operation must be an async function.")
        hints = get_type_hints(operation)
        self._sources = {
            name: self._source(name, hints.get(name)) for name in signature(operation).parameters
        }
        self.parameters = set(self._sources)
        self._body, self._query = hints.get("body"), hints.get("query")
        self._changes_something = bool(_CHANGING & self.parameters)
        if roles and "caller" in self.parameters:
            raise BindingError(f"{self.name}: a service is no signed-in user: leave out the roles.")

    async def call(self, req: HttpRequest) -> Any:
        """Run the operation for a request.

        Raises:
            ServiceError: the request or the settings are invalid, or the operation failed.
        """
        self._admit(req)
        arguments = self._arguments(req)
        self._refuse_ignored(req)  # after the parameters: one of them asks who the caller is
        return await self._services.traffic.run(self.name, lambda: self._start(arguments))

    async def run(self) -> Any:
        """Run an operation that takes nothing from a request.

        Raises:
            ServiceError: the settings are invalid, or the operation failed.
        """
        return await self._operation(**self._arguments(_NO_REQUEST))

    async def _start(self, arguments: dict[str, Any]) -> Any:
        if self._changes_something:
            await self._services.resource.check()
        return await self._operation(**arguments)

    def _admit(self, req: HttpRequest) -> None:
        """Refuse services that may not call this operation. Its parameter checks the users."""
        if not self.roles:
            return
        if self._services.service_authentication is ServiceAuthentication.KEYS:
            current_invocation().caller = "key"  # the host has checked it
        else:
            admit_service(req.headers, self.roles, sign_in_enabled=self._services.sign_in_enabled)

    def _refuse_ignored(self, req: HttpRequest) -> None:
        """Refuse what the operation would ignore although its caller may rely on it."""
        if self._query is None:
            refuse_ignored_query(req.url, self._body)
        if self._body is None:
            refuse_ignored_body(req.get_body(), self._query)

    def _arguments(self, req: HttpRequest) -> dict[str, Any]:
        return {name: source(req) for name, source in self._sources.items()}

    def _source(self, name: str, kind: Any) -> _Source:
        match name:
            case "identity_id":
                self._check(name, kind, str)
                return lambda req: identity_id(req.route_params.get("id", ""))
            case "tenant_id" | "object_id":
                self._check(name, kind, str)
                part = FROM_ROUTE[name]
                return lambda req: checked_guid(req.route_params.get(part, ""), part)
            case "caller":
                self._check(name, kind, SignedInUser)
                return self._signed_in_user
            case "query":
                self._check(name, kind, Query)
                return lambda req: decode_query(req.url, kind)
            case "body":
                self._check(name, kind, Request)
                return lambda req: decode_body(_body(req), kind)
        return self._provided(name, kind)

    def _signed_in_user(self, req: HttpRequest) -> SignedInUser:
        policy = self._services.settings.sign_in
        user = signed_in_user(req.headers, policy)
        self._services.user_budgets.spend(user.user_id, policy.calls_per_minute)
        return user

    def _provided(self, name: str, kind: Any) -> _Source:
        """A part of the services, or a setting."""
        services, settings = _parts(type(self._services)), get_type_hints(Settings)
        if name in services:
            self._check(name, kind, services[name])
            return lambda _: getattr(self._services, name)
        if name in settings:
            self._check(name, kind, settings[name])
            return lambda _: getattr(self._services.settings, name)
        known = ", ".join(sorted({*services, *settings}))
        raise BindingError(f"{self.name}: nothing provides {name!r}. Known names: {known}.")

    def _check(self, name: str, kind: Any, expected: type) -> None:
        matches = kind is expected or (
            expected in (Query, Request) and isinstance(kind, type) and issubclass(kind, expected)
        )
        if not matches:
            raise BindingError(f"{self.name}: {name!r} has type {kind}, expected {expected}.")


_NO_REQUEST = HttpRequest("GET", "/", body=b"")


def _parts(services: type[Services]) -> dict[str, Any]:
    """The public parts of the services and their types, as they are annotated."""
    parts = {
        name: get_type_hints(part.func if isinstance(part, cached_property) else part.fget)[
            "return"
        ]
        for kind in reversed(services.__mro__)
        for name, part in vars(kind).items()
        if isinstance(part, cached_property | property) and not name.startswith("_")
    }
    return {**get_type_hints(services), **parts}


def _body(req: HttpRequest) -> bytes:
    """The request's body.

    Raises:
        InvalidBody: the host dropped a chunked body. If it counted as empty, it would create an
            identity without a user.
    """
    body: bytes = req.get_body()
    if not body and "chunked" in req.headers.get("transfer-encoding", "").lower():
        raise InvalidBody(
            "Chunked bodies are not supported: send Content-Length.",
            allowed="a body with a Content-Length",
        )
    return body
