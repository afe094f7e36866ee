"""A small HTTP server that answers like the app, and misbehaves when a test wants it to.

The app itself never sends most of these answers. What it does send, `test_on_the_stack.py` tests.
"""

import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

KEY = "the-function-key"
TOKEN = "a-token"
DELETED = {"deletedOn": "2030-01-02T00:00:00Z", "scheduledPurgeOn": "2030-01-09T00:00:00Z"}
RESOURCE = "11111111-1111-1111-1111-111111111111"


def identity(number: int) -> str:
    """Returns the id of an identity."""
    return f"8:acs:{RESOURCE}_{number:08x}-2222-2222-2222-222222222222"


@dataclass(frozen=True)
class Received:
    """A request that has arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Answer:
    """A response instead of the usual one.

    Attributes:
        acts: Whether the request has its effect all the same.
        drops: Whether the connection breaks instead of the response.
        drips: Whether the body comes byte by byte and never ends.
    """

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    acts: bool = False
    drops: bool = False
    drips: bool = False


def problem(status: int, code: str, **fields: Any) -> Answer:
    """Returns a problem as the app sends it."""
    retry_after = fields.pop("retry_after", None)
    headers = {"Content-Type": "application/problem+json"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    body = {"type": "x", "title": code.capitalize(), "status": status, "code": code, **fields}
    return Answer(status, body, headers)


class Service:
    """The running server.

    Attributes:
        identities: What the registry has, by id.
        unknown: The ids that ACS does not know.
        answers: The next answers, instead of the usual ones. None stands for the usual one.
        results: The next results of records in an import, by id, instead of the usual ones.
        delay: Seconds before each response.
        received: Every request so far.
        page: How many items a page holds at most.
        bearer: The Entra token that it accepts instead of the key, if it is not empty.
        access: The Teams Phone access that the registry has, by `tenant/object`.
        held: The assignments that ACS has, by `tenant/object`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.identities: dict[str, dict[str, Any]] = {}
        self.unknown: set[str] = set()
        self.answers: deque[Answer | None] = deque()
        self.results: dict[str, list[str]] = {}
        self.delay = 0.0
        self.received: list[Received] = []
        self.page = 1000
        self.bearer = ""
        self.access: dict[str, dict[str, Any]] = {}
        self.held: dict[str, dict[str, Any]] = {}
        self.lock = threading.Lock()

    def add(
        self,
        number: int,
        user: str | None = None,
        state: str = "active",
        deleted_by: str | None = None,
    ) -> str:
        """Adds an identity to the registry and returns its id."""
        item = {"id": identity(number), "state": state, "createdOn": "2030-01-01T00:00:00Z"}
        item |= {"userId": user} if user is not None else {}
        self.identities[item["id"]] = item | (DELETED if state == "deleted" else {})
        if deleted_by:
            self.identities[item["id"]]["deletedBy"] = deleted_by
        return item["id"]

    def imported(self) -> list[str]:
        """Returns the ids that imports have sent, in their order."""
        imports = [each for each in self.received if each.path == "/api/identities/import"]
        return [record["id"] for each in imports for record in each.body["identities"]]

    def calls(self, method: str) -> list[str]:
        """Returns the paths of the requests with this method."""
        return [each.path for each in self.received if each.method == method]

    def wait(self, answer: Answer) -> None:
        """Waits before the response."""
        time.sleep(self.delay)

    def respond(self, request: Received) -> Answer:
        """Acts as the app does."""
        sent = request.headers.get("authorization" if self.bearer else "x-functions-key")
        if sent != (f"Bearer {self.bearer}" if self.bearer else KEY):
            return Answer(401)
        name, _, rest = request.path.removeprefix("/api/").partition("/")
        if name == "teams":
            return self._teams(request, rest.removeprefix("access").removeprefix("/"))
        identity_id, _, part = unquote(rest).partition("/")
        route = f"{request.method} {name}" + (" ID" if identity_id else "") + f" {part}".rstrip()
        if identity_id == "import":
            return self._import(request.body["identities"])
        operations: dict[str, Callable[[], Answer]] = {
            "GET ready": self._ready,
            "GET identities": lambda: self._list(request, name),
            "GET deleted-identities": lambda: self._list(request, name),
            "GET identities ID": lambda: self._get(name, identity_id),
            "GET deleted-identities ID": lambda: self._get(name, identity_id),
            "POST identities": lambda: self._create(request.body.get("userId")),
            "PUT identities ID": lambda: self._put(identity_id, request.body.get("userId")),
            "POST identities ID suspend": lambda: self._move(identity_id, "suspended", 200),
            "POST identities ID resume": lambda: self._move(identity_id, "active", 200),
            "DELETE identities ID": lambda: self._move(identity_id, "deleted", 202),
            "POST deleted-identities ID restore": lambda: self._move(identity_id, "active", 200),
            "DELETE deleted-identities ID": lambda: self._remove(identity_id),
            "DELETE identities ID registration": lambda: self._remove(identity_id),
            "DELETE identities ID tokens": lambda: Answer(204),
            "POST identities ID tokens": lambda: Answer(200, {"id": identity_id, "token": TOKEN}),
        }
        return operations.get(route, lambda: Answer(404))()

    def _teams(self, request: Received, who: str) -> Answer:
        if not who:
            return self._page(request, "teams/access", self._access(request.query))
        if who == "import":
            results = [self._take_over(each) for each in request.body["access"]]
            return Answer(200, {"results": results})
        if request.method == "PUT":
            status = 200 if who in self.access else 201
            self.give(who, **request.body)
            return Answer(status, self.access[who])
        if request.method == "DELETE":
            self.held.pop(who, None)
            if who in self.access:
                self.access[who]["state"] = "removed"
            return Answer(204)
        if self.access.get(who, {}).get("state") not in {"assigning", "assigned"}:
            return problem(404, "teams_access_not_found", detail="No such access.")
        item, held = self.access[who], self.held.get(who, {})
        same = all(held.get(name) == item[name] for name in ("principalType", "clientIds"))
        return Answer(200, {**item, "acs": {"matches": same, **held}})

    def give(self, who: str, **body: Any) -> None:
        """Gives access, in the registry and in ACS."""
        tenant, user = who.split("/")
        item = {"tenantId": tenant, "objectId": user, "state": "assigned", **body}
        self.access[who] = {**item, "createdOn": "2030-01-01T00:00:00Z"}
        names = ("principalType", "clientIds")
        self.held[who] = {name: body[name] for name in names}

    def _access(self, query: dict[str, str]) -> list[dict[str, Any]]:
        state = query.get("state")
        states = {"assigning", "assigned"} if state is None else {state}
        return [
            item
            for item in self.access.values()
            if (item["state"] in states or state == "any")
            and query.get("tenantId") in {None, item["tenantId"]}
        ]

    def _take_over(self, record: dict[str, str]) -> dict[str, str]:
        who = f"{record['tenantId']}/{record['objectId']}"
        named = {"tenantId": record["tenantId"], "objectId": record["objectId"]}
        if self.results.get(who):
            return named | {"result": self.results[who].pop(0)}
        if who not in self.held:
            return named | {"result": "teams_access_not_found"}
        if who in self.access:
            return named | {"result": "unchanged"}
        end = {name: record[name] for name in ("expiresOn",) if name in record}
        self.give(who, **self.held[who], **end)
        return named | {"result": "imported"}

    def _ready(self) -> Answer:
        check = {"status": "ok", "latencyMs": 7}
        sweep = {"status": "missed", "lastStartedSeconds": 900, "lastCompletedSeconds": 890}
        registry = check | {"heldPurges": 10_000}
        return Answer(200, {"acs": check, "registry": registry, "sweep": sweep})

    def _import(self, records: list[dict[str, str]]) -> Answer:
        results = [
            {"id": each["id"], "result": self.results[each["id"]].pop(0)}
            if self.results.get(each["id"])
            else self._register(each["id"], each.get("userId"))
            for each in records
        ]
        return Answer(200, {"results": results})

    def _put(self, identity_id: str, user: str | None) -> Answer:
        result = self._register(identity_id, user)["result"]
        status = {"registered": 201, "unchanged": 200}.get(result)
        if status is None:
            return problem(409, result, detail="No.")
        return Answer(status, self.identities[identity_id])

    def _list(self, request: Received, name: str) -> Answer:
        query = request.query
        states = {"deleted", "purging"} if name == "deleted-identities" else {"active", "suspended"}
        if "state" in query:
            states = {query["state"]}
        wanted = query.get("deletedBy")
        items = [
            each
            for each in self.identities.values()
            if wanted in {None, each.get("deletedBy")}
            and ("userId" not in query or each.get("userId") == query["userId"])
            and ("userId" in query or each["state"] in states or "any" in states)
        ]
        return self._page(request, name, items)

    def _page(self, request: Received, name: str, items: list[dict[str, Any]]) -> Answer:
        query = request.query
        start = int(query.get("continuation", "0"))
        end = start + min(self.page, int(query.get("maxPageSize", "100")))
        body: dict[str, Any] = {"value": items[start:end]}
        if end < len(items):
            others = "".join(
                f"{key}={value}&" for key, value in query.items() if key != "continuation"
            )
            body["nextLink"] = f"/api/{name}?{others}continuation={end}"
        return Answer(200, body)

    def _get(self, name: str, identity_id: str) -> Answer:
        item = self.identities.get(identity_id)
        if item is None:
            return problem(404, "identity_not_found", detail="No such identity.")
        if (item["state"] in {"deleted", "purging"}) != (name == "deleted-identities"):
            return problem(404, "identity_deleted", detail="See deleted-identities.")
        return Answer(200, item)

    def _create(self, user: str | None) -> Answer:
        for item in self.identities.values():
            if user and item.get("userId") == user:
                return Answer(200, {"id": item["id"]})
        return Answer(201, {"id": self.add(len(self.identities) + 1000, user)})

    def _register(self, identity_id: str, user: str | None) -> dict[str, Any]:
        found = {"id": identity_id}
        item = self.identities.get(identity_id)
        if identity_id in self.unknown:
            return found | {"result": "identity_not_found", "detail": "ACS has no such identity."}
        if item and item["state"] == "deleted":
            return found | {"result": "identity_deleted", "detail": "Restore it."}
        if item:
            same = item.get("userId") == user
            return found | {"result": "unchanged" if same else "user_mismatch"}
        self.identities[identity_id] = {"id": identity_id, "state": "active"}
        if user:
            self.identities[identity_id]["userId"] = user
        return found | {"result": "registered"}

    def _move(self, identity_id: str, state: str, status: int) -> Answer:
        item = self.identities.get(identity_id)
        if item is None:
            return problem(404, "identity_not_found", detail="No such identity.")
        for name in (*DELETED, "deletedBy"):
            item.pop(name, None)
        if state == "deleted":
            item |= DELETED | {"deletedBy": "service"}
        elif item["state"] == "deleted" and "suspendedOn" in item:
            state = "suspended"  # a restore returns to the state before the deletion
        if state == "suspended":
            item["suspendedOn"] = "2030-01-02T00:00:00Z"
        item["state"] = state
        return Answer(status, item)

    def _remove(self, identity_id: str) -> Answer:
        if self.identities.pop(identity_id, None) is None:
            return problem(404, "identity_not_found", detail="No such identity.")
        return Answer(204)


S = TypeVar("S", bound=Service)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: Service

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = json.loads(raw) if raw else {}
        request = Received(self.command, url.path, query, headers, body)
        with self.service.lock:
            self.service.received.append(request)
            instead = self.service.answers.popleft() if self.service.answers else None
            usual = self.service.respond(request) if instead is None or instead.acts else None
        answer = instead or usual
        assert answer
        self.service.wait(answer)
        if answer.drops:
            # Without the usual end of a connection.
            reset = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            self.close_connection = True
            return
        if answer.drips:
            self._drip()
            return
        self._send(answer)

    def _drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        with suppress(OSError):
            while True:
                self.wfile.write(b" ")
                time.sleep(0.05)

    def _send(self, answer: Answer) -> None:
        raw = answer.body if isinstance(answer.body, bytes) else b""
        if answer.body is not None and not raw:
            raw = json.dumps(answer.body).encode()
        self.send_response(answer.status)
        headers = {"Content-Type": "application/json", **answer.headers}
        for name, value in {**headers, "Content-Length": str(len(raw))}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(raw)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 -- the names of http.server

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def running_service() -> Iterator[Service]:
    """Runs the server until the end of the block."""
    with serving(Service) as service:
        yield service


@contextmanager
def serving(kind: type[S]) -> Iterator[S]:
    """The same for a service that acts in another way."""

    class Handler(_Handler):
        """The handler of this server."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        service = kind(f"http://127.0.0.1:{server.server_port}")
        Handler.service = service
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()
