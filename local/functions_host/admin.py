"""The endpoints under `/admin`: the ones that read, and the ones that start functions.

Sources: the controllers in WebJobs.Script.WebHost of Azure/azure-functions-host.
"""

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping
from email.message import Message
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

from local.functions_host.conversion import base_url
from local.functions_host.functions import Functions, TimerFunction, is_disabled
from local.functions_host.host_json import HostJson
from local.functions_host.http import Request, Response
from local.functions_host.indexing import MODULE, Indexed, Trigger
from local.functions_host.keys import AuthLevel, Keys
from local.functions_host.lenient_json import JsonError, read_fields
from local.functions_host.routing import Route, Router

logger = logging.getLogger(__name__)
# Where App Service on Linux puts an app.
_FOLDER = "/home/site/wwwroot"
_TEST_DATA = "/home/data/Functions/sampledata"
_VERSION = "4.1037.0.0"
_NOT_CACHED = (("Cache-Control", "no-store,no-cache"), ("Pragma", "no-cache"))


class _Access(Enum):
    """Who may call an endpoint."""

    ANYONE = auto()
    MASTER_KEY = auto()
    # A request without X-ARR-LOG-ID does not come through App Service's front end.
    MASTER_KEY_OR_PLATFORM = auto()


_FILES = ("/admin/vfs/", "/admin/zip/")
# The real host's endpoints that change something.
_NOT_SUPPORTED = (
    ("PUT DELETE", "functions/{name}", _Access.MASTER_KEY),
    ("POST PUT DELETE", "functions/{name}/keys/{key}", _Access.MASTER_KEY),
    ("POST PUT DELETE", "host/keys/{key}", _Access.MASTER_KEY),
    ("POST PUT DELETE", "host/functionkeys/{key}", _Access.MASTER_KEY),
    ("POST PUT DELETE", "host/systemkeys/{key}", _Access.MASTER_KEY),
    ("POST", "host/drain", _Access.MASTER_KEY_OR_PLATFORM),
    ("POST", "host/resume", _Access.MASTER_KEY_OR_PLATFORM),
    ("POST", "host/synctriggers", _Access.MASTER_KEY_OR_PLATFORM),
    ("POST", "host/debug", _Access.MASTER_KEY),
    ("POST", "host/restart", _Access.MASTER_KEY),
    ("PUT", "host/state", _Access.MASTER_KEY),
    ("POST", "host/extensions", _Access.MASTER_KEY),
    ("POST", "instance/assign", _Access.MASTER_KEY),
)
# Called with the request and the parameters of the route.
_Respond = Callable[..., Awaitable[Response]]


def is_from_outside(request: Request) -> bool:
    """Whether the request came through App Service's front end, which adds this header."""
    return "x-arr-log-id" in request.headers


def is_admin(path: str) -> bool:
    """Whether a path is one of the host's own."""
    return path.lower().startswith("/admin/")


class Admin:
    """Responds to requests under `/admin`."""

    def __init__(  # noqa: PLR0913 -- what it shows and starts
        self,
        functions: Functions,
        keys: Keys,
        options: HostJson,
        settings: Mapping[str, str],
        *,
        run_timer: Callable[[TimerFunction], object],
        warm_up: Callable[[], Awaitable[None]],
    ) -> None:
        self._functions = functions
        self._keys = keys
        self._options = options
        self._settings = settings
        self._run_timer = run_timer
        self._warm_up = warm_up
        self._router = self._routes()

    def _routes(self) -> Router[tuple[_Access, _Respond]]:
        anyone, master = _Access.ANYONE, _Access.MASTER_KEY
        platform = _Access.MASTER_KEY_OR_PLATFORM
        drain = _json({"state": "Disabled", "outstandingInvocations": 0, "outstandingRetries": 0})
        table: list[tuple[str, str, _Access, _Respond]] = [
            ("GET POST", "host/ping", anyone, _always(Response(HTTPStatus.OK, _NOT_CACHED))),
            ("GET POST", "warmup", anyone, self._respond_to_warm_up),
            ("GET", "instance/http-health", anyone, _always(Response(HTTPStatus.OK))),
            ("GET", "host/status", platform, self._host_status),
            ("GET", "host/config", platform, self._config),
            ("GET", "host/processes", platform, _always(_json([]))),
            ("GET", "host/drain/status", platform, _always(drain)),
            ("POST", "host/log", platform, _accept_log),
            ("POST", "host/scale/status", platform, _scale_status),
            ("GET", "host/extensions", master, _always(_json({"extensions": []}))),
            ("GET", "instance/info", master, _always(_json({}))),
            ("GET", "functions", master, self._list),
            ("GET", "functions/download", master, _not_supported),
            ("GET", "functions/{name}", master, self._describe_by_name),
            ("POST", "functions/{name}", master, self._start),
            ("GET", "functions/{name}/status", master, self._function_status),
            ("GET", "functions/{name}/keys/{key?}", master, self._function_keys),
            ("GET", "host/keys/{key?}", master, self._host_keys),
            ("GET", "host/functionkeys/{key?}", master, self._host_keys),
            ("GET", "host/systemkeys/{key?}", master, self._system_keys),
            *((methods, path, access, _not_supported) for methods, path, access in _NOT_SUPPORTED),
        ]
        router: Router[tuple[_Access, _Respond]] = Router()
        for methods, path, access, respond in table:
            router.add(Route.parse("admin", path), methods.split(), (access, respond))
        return router

    async def respond(self, request: Request) -> Response:
        """Respond to any request under `/admin`. An unknown endpoint is 404 before the key."""
        if f"{request.path.lower()}/".startswith(_FILES):
            return self._files(request)
        found = self._router.find(request.method, request.path)
        if not found:
            return Response(HTTPStatus.NOT_FOUND)
        (access, respond), parameters = found
        return self._refusal(access, request) or await respond(request, **parameters)

    def _refusal(self, access: _Access, request: Request) -> Response | None:
        level = self._keys.level(request)
        is_platform = access is _Access.MASTER_KEY_OR_PLATFORM and not is_from_outside(request)
        if access is _Access.ANYONE or is_platform or level is AuthLevel.ADMIN:
            return None
        if level:
            return Response(HTTPStatus.FORBIDDEN)
        has_token = request.headers.get("authorization", "").lower().startswith("bearer ")
        challenge = 'Bearer error="invalid_token"' if has_token else "Bearer"
        return Response(HTTPStatus.UNAUTHORIZED, (("WWW-Authenticate", challenge),))

    def _files(self, request: Request) -> Response:
        """The app's files, which this host does not show, not even with the master key."""
        is_master = self._keys.level(request) is AuthLevel.ADMIN
        return Response(HTTPStatus.FORBIDDEN if is_master else HTTPStatus.UNAUTHORIZED)

    async def _respond_to_warm_up(self, _request: Request) -> Response:
        await self._warm_up()
        return Response(HTTPStatus.OK)

    async def _host_status(self, _request: Request) -> Response:
        """The real host has no `tasks` and no `blocks`.

        They are the tasks on the worker's event loop and the blocks of memory that Python objects
        use. A process keeps memory that its objects no longer use, so its size shows less.
        """
        tasks, blocks = len(asyncio.all_tasks()), sys.getallocatedblocks()
        document = {"state": "Running", "version": _VERSION, "tasks": tasks, "blocks": blocks}
        return _json(document)

    async def _config(self, _request: Request) -> Response:
        document = json.dumps({"http": {"routePrefix": self._options.route_prefix}})
        headers = (("Content-Type", "text/plain; charset=utf-8"),)
        return Response(HTTPStatus.OK, headers, document.encode())

    async def _host_keys(self, request: Request, key: str | None = None) -> Response:
        return _keys({"default": self._keys.function}, key, request)

    async def _system_keys(self, request: Request, key: str | None = None) -> Response:
        return _keys({"_master": self._keys.master} if key else {}, key, request)

    async def _function_keys(self, request: Request, name: str, key: str | None = None) -> Response:
        function = self._indexed(name)
        if not function:
            return Response(HTTPStatus.NOT_FOUND)
        return _keys({"default": self._keys.of(function.code.name)}, key, request)

    async def _list(self, request: Request) -> Response:
        listed = self._functions.indexed.values()
        return _json([self._describe(function, request) for function in listed])

    async def _describe_by_name(self, request: Request, name: str) -> Response:
        function = self._indexed(name)
        if not function:
            return Response(HTTPStatus.NOT_FOUND)
        return _json(self._describe(function, request))

    def _describe(self, function: Indexed, request: Request) -> dict[str, Any]:
        name, base = function.code.name, base_url(request)
        script = f"{MODULE}.py"
        return {
            "name": name,
            "script_root_path_href": None,
            "script_href": f"{base}/admin/vfs{_FOLDER}/{script}",
            "config_href": None,
            "test_data_href": f"{base}/admin/vfs{_TEST_DATA}/{name}.dat",
            "href": f"{base}/admin/functions/{name}",
            "invoke_url_template": self._invoke_url(function, base),
            "language": "python",
            "config": {
                "name": name,
                "entryPoint": function.code.call.__name__,
                "scriptFile": script,
                "language": "python",
                "functionDirectory": _FOLDER,
                "bindings": function.bindings,
            },
            "files": None,
            "test_data": "",
            "isDisabled": is_disabled(name, self._settings),
            "isDirect": False,
            "isProxy": False,
        }

    def _invoke_url(self, function: Indexed, base: str) -> str | None:
        if function.trigger["type"] != Trigger.HTTP:
            return None
        route = function.trigger.get("route") or function.code.name
        return "/".join(filter(None, (base, self._options.route_prefix, route))).lower()

    async def _function_status(self, _request: Request, name: str) -> Response:
        function = self._indexed(name)
        if not function:
            return Response(HTTPStatus.NOT_FOUND)
        error = self._functions.errors.get(function.code.name)
        if not error:
            return _json({})
        source = "Microsoft.Azure.WebJobs.Host"
        text = f"Error indexing method 'Functions.{function.code.name}'. {source}: {error}"
        return _json({"errors": [f"{source}: {text}"]})

    async def _start(self, request: Request, name: str) -> Response:
        """Start a timer function. Other functions, and those in error, do not run."""
        if not _has_json(request):
            return Response(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        try:
            fields = read_fields(await request.read_body())
        except JsonError:
            return Response(HTTPStatus.BAD_REQUEST)
        if fields.get("input", "") is None:  # an object or an array, but the host needs a text
            return Response(HTTPStatus.BAD_REQUEST)
        indexed = self._indexed(name)
        if not indexed:
            return Response(HTTPStatus.NOT_FOUND)
        match self._functions.served.get(indexed.code.name):
            case None:
                logger.error("The '%s' function is in error and does not run", indexed.code.name)
            case TimerFunction() as function:
                self._run_timer(function)
            case function:
                logger.error(
                    "Executed 'Functions.%s' (Failed)\n"
                    "NotSupportedException: only timers can be started through /admin/functions",
                    function.code.name,
                )
        return Response(HTTPStatus.ACCEPTED)

    def _indexed(self, name: str) -> Indexed | None:
        functions = self._functions.indexed.items()
        return next((each for known, each in functions if known.lower() == name.lower()), None)


async def _not_supported(_request: Request, **_parameters: str) -> Response:
    return Response(HTTPStatus.NOT_IMPLEMENTED)


def _always(response: Response) -> _Respond:
    async def respond(_request: Request) -> Response:
        return response

    return respond


async def _accept_log(request: Request) -> Response:
    if not _has_json(request):
        return Response(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    try:
        entries = json.loads(await request.read_body())
    except ValueError:
        entries = None
    return Response(HTTPStatus.OK if isinstance(entries, list) else HTTPStatus.BAD_REQUEST)


async def _scale_status(request: Request) -> Response:
    """Only a plan that scales by what the host itself measures has more to say."""
    if not _has_json(request):
        return Response(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, _NOT_CACHED)
    headers = (*_NOT_CACHED, ("Content-Type", "text/plain; charset=utf-8"))
    body = b"Runtime scale monitoring is not enabled."
    return Response(HTTPStatus.BAD_REQUEST, headers, body)


def _has_json(request: Request) -> bool:
    """Whether the Content-Type is application/json, text/json or application/…+json, in UTF-8."""
    content_type = Message()
    content_type["Content-Type"] = request.headers.get("content-type", "")
    media_type = content_type.get_content_type()
    is_suffixed = media_type.startswith("application/") and media_type.endswith("+json")
    is_json = media_type in ("application/json", "text/json") or is_suffixed
    return is_json and content_type.get_content_charset("utf-8") == "utf-8"


def _keys(keys: Mapping[str, str], name: str | None, request: Request) -> Response:
    """All keys, or the one with this name."""
    links = [{"rel": "self", "href": f"{base_url(request)}{request.path}"}]
    if name is None:
        described = [{"name": each, "value": value} for each, value in keys.items()]
        return _json({"keys": described, "links": links})
    if name not in keys:
        return Response(HTTPStatus.NOT_FOUND)
    return _json({"name": name, "value": keys[name], "links": links})


def _json(document: object) -> Response:
    headers = (("Content-Type", "application/json; charset=utf-8"),)
    return Response(HTTPStatus.OK, headers, json.dumps(document).encode())
