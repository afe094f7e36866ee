"""The control endpoint: tests inspect the emulator and inject faults. See README.md.

No path of the real service starts with the prefix. Every request needs the header with the control
key. A web page cannot send that header to another site, because the browser sends a preflight first
and this endpoint rejects preflights.
"""

import hmac
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from aiohttp import web

from local.acs.authentication import KeyName
from local.acs.contract import Operation
from local.acs.directory import Identity
from local.acs.faults import AnyFault, FaultInjector
from local.acs.quotas import ACS_LIMITS, QuotaSettings
from local.acs.service import Service

CONTROL_PREFIX = "/_control"
CONTROL_HEADER = "x-acs-control-key"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Shape = TypeVar("Shape")


class RequestCounters:
    """Counts attempts, effects and requests in flight."""

    def __init__(self) -> None:
        self._attempts: Counter[Operation] = Counter()
        self._effects: Counter[Operation] = Counter()
        self._in_flight = 0
        self._peak = 0

    @contextmanager
    def attempt(self, operation: Operation) -> Iterator[None]:
        """Count an attempt. It is in flight until the block ends."""
        self._attempts[operation] += 1
        self._in_flight += 1
        self._peak = max(self._peak, self._in_flight)
        try:
            yield
        finally:
            self._in_flight -= 1

    def effect(self, operation: Operation) -> None:
        """Count a request whose operation succeeded."""
        self._effects[operation] += 1

    def document(self) -> dict[str, Any]:
        """All counts, including zeros."""
        return {
            "operations": {
                operation: {
                    "attempts": self._attempts[operation],
                    "effects": self._effects[operation],
                }
                for operation in Operation
            },
            "inFlight": {"now": self._in_flight, "peak": self._peak},
        }

    def clear(self) -> None:
        """Start again at zero. Requests in flight stay counted."""
        self._attempts.clear()
        self._effects.clear()
        self._peak = self._in_flight


class _VerifyTokenBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: str


class _TeamsUserBody(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    user_id: UUID


class _EntraUserBody(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    user_id: UUID
    scopes: tuple[str, ...] = ("Chat", "VoIP")


class Control:
    """The control endpoint as an aiohttp application.

    Args:
        service: The service to inspect and change.
        faults: The fault injector of the server.
        counters: The request counters of the server.
        key: The value that the header must have.
        more: Further routes behind the same key.
    """

    def __init__(
        self,
        service: Service,
        faults: FaultInjector,
        counters: RequestCounters,
        key: str,
        more: Sequence[web.RouteDef],
    ) -> None:
        self._service = service
        self._faults = faults
        self._counters = counters
        self._key = key.encode()
        self._more = more

    def application(self) -> web.Application:
        """The application to mount under the prefix."""
        application = web.Application(middlewares=[self._require_key])
        application.add_routes(
            [
                web.get("/counts", self._get_counts),
                web.get("/identities", self._list_identities),
                web.get("/identities/{id}", self._get_identity),
                web.get("/assignments", self._list_assignments),
                web.post("/tokens/verify", self._verify_token),
                web.post("/teams-user", self._create_teams_user),
                web.post("/entra-user", self._create_entra_user),
                web.get("/keys", self._get_keys),
                web.post(rf"/keys/{{name:{'|'.join(KeyName)}}}", self._regenerate_key),
                web.post("/reset", self._reset),
                web.get("/faults", self._list_faults),
                web.post("/faults", self._add_fault),
                web.delete("/faults", self._clear_faults),
                web.delete(r"/faults/{id:\d+}", self._remove_fault),
                web.get("/quotas", self._get_quotas),
                web.put("/quotas", self._enforce_quotas),
                web.delete("/quotas", self._turn_quotas_off),
                *self._more,
            ]
        )
        return application

    @web.middleware
    async def _require_key(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get(CONTROL_HEADER, "").encode(errors="replace")
        if not hmac.compare_digest(given, self._key):
            return _error(403, f"The header {CONTROL_HEADER} is missing or wrong.")
        try:
            return await handler(request)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return _error(400, str(error))
        except web.HTTPException as error:
            return _error(error.status, error.reason)

    async def _get_counts(self, _request: web.Request) -> web.StreamResponse:
        return _json(self._counters.document())

    async def _list_identities(self, _request: web.Request) -> web.StreamResponse:
        identities = [self._document(identity) for identity in self._service.directory]
        return _json({"resourceId": self._service.resource_id, "identities": identities})

    async def _get_identity(self, request: web.Request) -> web.StreamResponse:
        identity = self._service.directory.get(request.match_info["id"])
        if identity is None:
            raise web.HTTPNotFound
        return _json(self._document(identity))

    async def _list_assignments(self, _request: web.Request) -> web.StreamResponse:
        extension = self._service.teams_extension
        assignments = [
            {**each.document(), "tokensAlive": extension.count_live_tokens(each)}
            for each in extension
        ]
        return _json({"assignments": assignments})

    async def _verify_token(self, request: web.Request) -> web.StreamResponse:
        body = await _read(request, _VerifyTokenBody)
        return _json(self._service.directory.verify_token(body.token))

    async def _create_teams_user(self, request: web.Request) -> web.StreamResponse:
        body = await _read(request, _TeamsUserBody)
        user = self._service.teams.user(str(body.user_id))
        document = {"appId": user.app_id, "tenantId": user.tenant_id, "userId": user.user_id}
        return _json({"token": user.token, **document})

    async def _create_entra_user(self, request: web.Request) -> web.StreamResponse:
        body = await _read(request, _EntraUserBody)
        token = self._service.entra_users.token(str(body.user_id), body.scopes)
        return _json({"token": token, "userId": str(body.user_id)})

    async def _get_keys(self, _request: web.Request) -> web.StreamResponse:
        return _json(self._service.access_keys.document())

    async def _regenerate_key(self, request: web.Request) -> web.StreamResponse:
        self._service.access_keys.regenerate(KeyName(request.match_info["name"]))
        return await self._get_keys(request)

    async def _reset(self, _request: web.Request) -> web.StreamResponse:
        self._service.reset()
        self._counters.clear()
        self._faults.clear(proceed=False)
        return web.Response(status=204)

    async def _list_faults(self, _request: web.Request) -> web.StreamResponse:
        return _json({"faults": self._faults.document()})

    async def _add_fault(self, request: web.Request) -> web.StreamResponse:
        fault: AnyFault = await _read(request, AnyFault)  # type: ignore[arg-type]  # msgspec takes a union as a type
        return _json(self._faults.add(fault).document(), status=201)

    async def _clear_faults(self, _request: web.Request) -> web.StreamResponse:
        self._faults.clear()
        return web.Response(status=204)

    async def _remove_fault(self, request: web.Request) -> web.StreamResponse:
        if not self._faults.remove(int(request.match_info["id"])):
            raise web.HTTPNotFound
        return web.Response(status=204)

    async def _get_quotas(self, _request: web.Request) -> web.StreamResponse:
        enforced = self._service.quotas.settings
        settings = enforced or QuotaSettings()
        limits = {**ACS_LIMITS, **settings.limits}
        document = {**msgspec.to_builtins(settings), "limits": limits}
        return _json({"enforced": enforced is not None, **document})

    async def _enforce_quotas(self, request: web.Request) -> web.StreamResponse:
        self._service.quotas.enforce(await _read(request, QuotaSettings))
        return await self._get_quotas(request)

    async def _turn_quotas_off(self, _request: web.Request) -> web.StreamResponse:
        self._service.quotas.enforce(None)
        return web.Response(status=204)

    def _document(self, identity: Identity) -> dict[str, Any]:
        return {
            "id": identity.id,
            "state": "deleted" if identity.deleted else "active",
            "tokensAlive": self._service.directory.count_live_tokens(identity),
        }


async def _read(request: web.Request, shape: type[Shape]) -> Shape:
    return msgspec.json.decode(await request.read() or b"{}", type=shape)


def _json(value: object, status: int = 200) -> web.StreamResponse:
    body = msgspec.json.encode(value)
    return web.Response(status=status, body=body, content_type="application/json")


def _error(status: int, message: str) -> web.StreamResponse:
    return _json({"error": {"code": "ControlError", "message": message}}, status=status)
