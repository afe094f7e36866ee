"""The host's own endpoints under /admin, for the holder of the master key."""

import asyncio
import json
import logging
from http import HTTPStatus
from typing import Any

from azure.functions.warmup import WarmUpContext

from local.functions_host.functions import Function, Functions, HttpFunction, TimerFunction
from local.functions_host.invocations import Invoker, no_result
from local.functions_host.keys import AuthLevel, Keys
from local.functions_host.pipeline import Answer, Request
from local.functions_host.timers import OnTime

logger = logging.getLogger(__name__)


class Admin:
    """Answers what lies under /admin."""

    def __init__(self, functions: Functions, invoker: Invoker, keys: Keys) -> None:
        self._functions = functions
        self._invoker = invoker
        self._keys = keys

    async def answer(self, request: Request) -> Answer:
        """Ping for everybody; status, listing and running of functions with the master key."""
        route = (request.method, *request.path.lower().strip("/").split("/")[1:])
        if route == ("GET", "host", "ping"):
            return Answer(HTTPStatus.OK)
        level = self._keys.level(request)
        if level < AuthLevel.ADMIN:
            return Answer(HTTPStatus.FORBIDDEN if level else HTTPStatus.UNAUTHORIZED)
        match route:
            case ("GET", "host", "status"):
                return _json(self._status())
            case ("GET", "functions"):
                return _json([_describe(each) for each in self._functions.served.values()])
            case ("POST", "functions", name):
                return self._run(name, request)
        return Answer(HTTPStatus.NOT_FOUND)

    def _status(self) -> dict[str, object]:
        errors = [f"{name}: {error}" for name, error in self._functions.errors.items()]
        return {"state": "Running", "errors": errors, "tasks": len(asyncio.all_tasks())}

    def _run(self, name: str, request: Request) -> Answer:
        content_type = request.headers.get("content-type", "").partition(";")[0]
        if content_type.strip().lower() != "application/json":
            return Answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        if not _is_object(request.body):
            return Answer(HTTPStatus.BAD_REQUEST)
        function = next(
            (each for each in self._functions.served.values() if each.code.name.lower() == name),
            None,
        )
        if function is None:
            return Answer(HTTPStatus.NOT_FOUND)
        self._start(function)
        return Answer(HTTPStatus.ACCEPTED)

    def _start(self, function: Function) -> None:
        if isinstance(function, HttpFunction):
            logger.error(
                "Executed 'Functions.%s' (Failed)\n"
                "NotSupportedException: An HttpRequest is required",
                function.code.name,
            )
            return
        value = OnTime() if isinstance(function, TimerFunction) else WarmUpContext()
        self._invoker.start(function.code, value, no_result)


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except (ValueError, RecursionError):
        return False


def _describe(function: Function) -> dict[str, Any]:
    described: dict[str, Any] = {"name": function.code.name, "disabled": function.disabled}
    match function:
        case HttpFunction():
            return described | {
                "trigger": "http",
                "route": function.template,
                "methods": list(function.methods),
                "authLevel": function.auth_level.name.lower(),
            }
        case TimerFunction():
            return described | {"trigger": "timer", "schedule": function.schedule.expression}
    return described | {"trigger": "warmup"}


def _json(document: object) -> Answer:
    headers = (("Content-Type", "application/json; charset=utf-8"),)
    return Answer(HTTPStatus.OK, headers, json.dumps(document).encode())
