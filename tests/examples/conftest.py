"""The refreshers in Python and JavaScript, and a service that a test controls."""

import base64
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.cli.service import KEY, Answer, Received, Service, serving
from tests.support.stack import PATIENCE, ROOT
from tests.support.waiting import wait_until

HERE = Path(__file__).parent
DRIVERS = {
    "python": (sys.executable, str(HERE / "drive.py")),
    "node": ("node", str(HERE / "drive.mjs")),
}
BACKENDS = {
    "python": (sys.executable, "examples/python/backend.py"),
    "node": ("node", "examples/node/backend.mjs"),
}
PASSWORD, NEW_PASSWORD = "correct horse", "battery staple"
HOUR = 3600
IDENTITIES, WITH_TOKEN = "/api/identities", "/api/identities/with-token"


def jwt(expires_on: float, number: int = 0) -> str:
    """Returns a token that Microsoft's credentials can read."""
    payload = json.dumps({"exp": int(expires_on), "number": number}).encode()
    return f"e30.{base64.b64encode(payload).decode()}.e30"


class FaultyService(Service):
    """The service, which issues tokens until a test wants something else.

    Attributes:
        lifetime: Of the tokens, in seconds.
        open: Responses wait for it.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.lifetime = HOUR
        self.open = threading.Event()
        self.open.set()

    @property
    def requests(self) -> int:
        """The number of requests for a token."""
        return self.calls("POST").count(WITH_TOKEN)

    def wait_for(self, path: str, count: int = 1) -> None:
        """Waits until so many requests to this path have arrived."""
        wait_until(lambda: self.calls("POST").count(path) >= count, lambda: path)

    def respond(self, request: Received) -> Answer:
        """Acts as the app does."""
        answer = super().respond(request)
        if request.path != WITH_TOKEN or answer.status == 401:
            return answer
        return Answer(200, self.issue(request.body["userId"]))

    def issue(self, user_id: str) -> dict[str, Any]:
        """Returns the body of a response with a token."""
        expires_on = int(time.time() + self.lifetime)
        return {
            **self._create(user_id).body,
            "token": jwt(expires_on, self.requests),
            "expiresOn": _text(expires_on),
            "refreshAfter": _text(expires_on - min(600, self.lifetime // 2)),
        }

    def wait(self, answer: Answer) -> None:
        """Waits before the response."""
        assert self.open.wait(PATIENCE)


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Driver:
    """A process that runs the refresher of one language."""

    def __init__(self, name: str, process: "subprocess.Popen[str]") -> None:
        self.name, self._process = name, process

    def do(self, method: str, *arguments: object) -> Any:
        """Calls a method of the driver, and returns its result."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([method, *arguments]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def create(self, service: FaultyService, **limits: float) -> None:
        """Creates a new refresher, whose clock is right."""
        self.do("new", service.url, KEY, "", limits)

    def get(self, *user_ids: str) -> list[Any]:
        """Returns a token or an error for each, one after the other."""
        return [self.do("get", each) for each in user_ids]


@pytest.fixture(scope="session", params=DRIVERS)
def started_driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """The driver of one language. Each test creates a refresher of its own in it."""
    with subprocess.Popen(  # noqa: S603 -- our own script
        DRIVERS[request.param],
        cwd=ROOT,
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Driver(request.param, process)
        assert process.stdin
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


@pytest.fixture
def service() -> Iterator[FaultyService]:
    """The service that a test controls."""
    with serving(FaultyService) as started:
        yield started
        started.open.set()


@pytest.fixture
def driver(started_driver: Driver, service: FaultyService) -> Driver:
    """A refresher that calls this service."""
    started_driver.create(service)
    return started_driver


@dataclass(frozen=True)
class Backend:
    """A running backend, the identity service that it calls, and a client without cookies."""

    service: FaultyService
    client: httpx.Client


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """The backend of one language."""
    with serving(FaultyService) as service:
        environ = {"SERVICE_URL": service.url, "SERVICE_KEY": KEY}
        with running_backend(request.param, environ) as client:
            yield Backend(service, client)


@contextmanager
def running_backend(
    language: str, environ: Mapping[str, str], folder: Path = ROOT
) -> Iterator[httpx.Client]:
    """Runs the backend in the folder until the end of the block; yields a client for it."""
    with subprocess.Popen(  # noqa: S603 -- our own script
        BACKENDS[language],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PORT": "0", **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout
        url = process.stdout.readline().split()[-1]
        cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        with httpx.Client(base_url=url, cookies=cookies, timeout=PATIENCE) as client:
            yield client
        process.terminate()


class Alice:
    """A user on one device."""

    def __init__(self, client: httpx.Client, name: str) -> None:
        self._client, self.name, self.session = client, name, ""

    def call(self, method: str, path: str, **body: object) -> httpx.Response:
        """Sends one request."""
        headers = {"Cookie": f"theme=dark; session={self.session}"}
        return self._client.request(method, path, json=body, headers=headers)

    def sign_in(self, password: str = PASSWORD) -> httpx.Response:
        """Signs in."""
        response = self.call("POST", "/session", name=self.name, password=password)
        if cookie := re.match("session=([^;]+)", response.headers.get("Set-Cookie", "")):
            self.session = cookie[1]
        return response

    def token(self) -> str:
        """Gets a token."""
        return str(self.call("POST", "/token").json()["token"])

    def change_password(self, password: str = PASSWORD) -> httpx.Response:
        """Changes the password."""
        return self.call("PUT", "/password", password=password, newPassword=NEW_PASSWORD)


@pytest.fixture
def alice(backend: Backend) -> Alice:
    """A new user, signed in."""
    return new_user(backend.client)


def new_user(client: httpx.Client) -> Alice:
    """Signs up and signs in."""
    user = Alice(client, f"alice-{uuid4()}")
    user.call("POST", "/users", name=user.name, password=PASSWORD)
    user.sign_in()
    return user
