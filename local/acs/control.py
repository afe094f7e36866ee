"""The control endpoint: what a test asks for and what it wants to know. See README.md.

No real path begins like these, and they want a header of their own: a web page cannot send one to
another site without asking first, and nothing here answers that question.
"""

import hmac
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from aiohttp import web

from local.acs.access_keys import AccessKeys, KeyName
from local.acs.directory import Identity
from local.acs.faults import AnyFault
from local.acs.quotas import ACS_LIMITS, QuotaSettings
from local.acs.resource import Resource
from local.acs.teams import Teams
from local.acs.verification import verify

CONTROL_PREFIX = "/_control"
CONTROL_HEADER = "x-acs-control-key"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Shape = TypeVar("Shape")


class _TokenToVerify(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: str


class _TeamsUserWanted(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    user_id: UUID


class Control:
    """JSON in, JSON out, over one resource, its keys, and the Teams users of its tenant."""

    def __init__(
        self,
        resource: Resource,
        teams: Teams,
        access_keys: AccessKeys,
        key: str,
        more: Sequence[web.RouteDef],
    ) -> None:
        self._resource = resource
        self._teams = teams
        self._access_keys = access_keys
        self._key = key.encode()
        self._more = more

    def application(self) -> web.Application:
        """What is served under the prefix."""
        application = web.Application(middlewares=[self._require_key])
        application.add_routes(
            [
                web.get("/counts", self._counts),
                web.get("/identities", self._identities),
                web.get("/identities/{id}", self._identity),
                web.post("/tokens/verify", self._verify),
                web.post("/teams-user", self._teams_user),
                web.get("/keys", self._keys),
                web.post(rf"/keys/{{name:{'|'.join(KeyName)}}}", self._regenerate),
                web.post("/reset", self._reset),
                web.get("/faults", self._faults),
                web.post("/faults", self._arm),
                web.delete("/faults", self._clear),
                web.delete(r"/faults/{id:\d+}", self._disarm),
                web.get("/quotas", self._quotas),
                web.put("/quotas", self._enforce),
                web.delete("/quotas", self._lift),
                *self._more,
            ]
        )
        return application

    @web.middleware
    async def _require_key(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get(CONTROL_HEADER, "").encode(errors="replace")
        if not hmac.compare_digest(given, self._key):
            return _problem(403, f"The header {CONTROL_HEADER} is missing or wrong.")
        try:
            return await handler(request)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return _problem(400, str(error))
        except web.HTTPException as error:
            return _problem(error.status, error.reason)

    async def _counts(self, _request: web.Request) -> web.StreamResponse:
        return _json(self._resource.ledger.document())

    async def _identities(self, _request: web.Request) -> web.StreamResponse:
        identities = [self._document(identity) for identity in self._resource.directory]
        return _json({"resourceId": self._resource.id, "identities": identities})

    async def _identity(self, request: web.Request) -> web.StreamResponse:
        identity = self._resource.directory.get(request.match_info["id"])
        if identity is None:
            raise web.HTTPNotFound
        return _json(self._document(identity))

    async def _verify(self, request: web.Request) -> web.StreamResponse:
        wanted = await _read(request, _TokenToVerify)
        return _json(verify(wanted.token, self._resource))

    async def _teams_user(self, request: web.Request) -> web.StreamResponse:
        wanted = await _read(request, _TeamsUserWanted)
        user = self._teams.user(str(wanted.user_id))
        return _json({"token": user.token, "appId": user.app_id, "userId": user.user_id})

    async def _keys(self, _request: web.Request) -> web.StreamResponse:
        return _json(self._access_keys.document())

    async def _regenerate(self, request: web.Request) -> web.StreamResponse:
        self._access_keys.regenerate(KeyName(request.match_info["name"]))
        return await self._keys(request)

    async def _reset(self, _request: web.Request) -> web.StreamResponse:
        self._resource.reset()
        return web.Response(status=204)

    async def _faults(self, _request: web.Request) -> web.StreamResponse:
        return _json({"faults": self._resource.plan.document()})

    async def _arm(self, request: web.Request) -> web.StreamResponse:
        fault: AnyFault = await _read(request, AnyFault)  # type: ignore[arg-type]  # a union is a type to msgspec
        return _json(self._resource.plan.arm(fault).document(), status=201)

    async def _clear(self, _request: web.Request) -> web.StreamResponse:
        self._resource.plan.clear()
        self._resource.holds.release()
        return web.Response(status=204)

    async def _disarm(self, request: web.Request) -> web.StreamResponse:
        armed = self._resource.plan.disarm(int(request.match_info["id"]))
        if armed is None:
            raise web.HTTPNotFound
        self._resource.holds.release(armed)
        return web.Response(status=204)

    async def _quotas(self, _request: web.Request) -> web.StreamResponse:
        settings = self._resource.quotas.settings
        shown = settings or QuotaSettings()
        limits = {**ACS_LIMITS, **shown.limits}
        document = {**msgspec.to_builtins(shown), "limits": limits}
        return _json({"enforced": settings is not None, **document})

    async def _enforce(self, request: web.Request) -> web.StreamResponse:
        self._resource.quotas.enforce(await _read(request, QuotaSettings))
        return await self._quotas(request)

    async def _lift(self, _request: web.Request) -> web.StreamResponse:
        self._resource.quotas.enforce(None)
        return web.Response(status=204)

    def _document(self, identity: Identity) -> dict[str, Any]:
        return {
            "id": identity.id,
            "state": "deleted" if identity.deleted else "active",
            "tokensAlive": identity.count_alive(self._resource.clock()),
        }


async def _read(request: web.Request, shape: type[Shape]) -> Shape:
    return msgspec.json.decode(await request.read() or b"{}", type=shape)


def _json(value: object, status: int = 200) -> web.StreamResponse:
    body = msgspec.json.encode(value)
    return web.Response(status=status, body=body, content_type="application/json")


def _problem(status: int, message: str) -> web.StreamResponse:
    return _json({"error": {"code": "ControlError", "message": message}}, status=status)
