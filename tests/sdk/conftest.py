"""The emulator and the managed identity endpoint, for SDKs in this process and in others."""

import asyncio
import json
import threading
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from ssl import create_default_context
from typing import Any

import pytest

from local import managed_identity
from local.acs import CONTROL_HEADER, CONTROL_PREFIX
from local.azure import LocalAcs, Ports, local_acs
from local.entra import Issuer
from local.managed_identity import ManagedIdentity
from local.servers import Authority, listen, serving
from local.workspace import Workspace


@dataclass(frozen=True)
class Azure:
    """What an SDK needs to know of the running servers, and what a test asks them."""

    acs: LocalAcs
    identity_endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which SDKs find ACS and the managed identity endpoint."""
        return {
            **self.acs.environment(),
            "ACS_KEY": self.acs.keys.acs_secondary_key,
            "IDENTITY_ENDPOINT": self.identity_endpoint,
            "IDENTITY_HEADER": self.acs.keys.identity_header,
        }

    def verify(self, token: str) -> Any:
        """What the emulator says about an access token."""
        return self._control("/tokens/verify", {"token": token})

    def identity_requests(self) -> Any:
        """How often the managed identity endpoint was asked, by resource."""
        return self._control("/managed-identity")["requests"]

    def _control(self, path: str, body: object = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 -- https, on loopback
            f"{self.acs.endpoint}{CONTROL_PREFIX}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={CONTROL_HEADER: self.acs.keys.control_key},
        )
        context = create_default_context(cafile=str(self.acs.bundle))
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:  # noqa: S310 -- the same
            return json.load(answer)


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """Both servers, in a thread of their own."""
    started: Future[tuple[Azure, Callable[[], object]]] = Future()
    folder = tmp_path_factory.mktemp("sdk")
    thread = threading.Thread(target=lambda: asyncio.run(_serve(folder, started)), daemon=True)
    thread.start()
    azure, stop = started.result(timeout=10)
    yield azure
    stop()
    thread.join(timeout=10)


async def _serve(folder: Path, started: "Future[tuple[Azure, Callable[[], object]]]") -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with _running(folder) as azure:
        started.set_result((azure, lambda: loop.call_soon_threadsafe(stop.set)))
        await stop.wait()


@asynccontextmanager
async def _running(folder: Path) -> AsyncIterator[Azure]:
    issuer = Issuer()
    with Workspace(folder).locked() as workspace:
        identity = ManagedIdentity(issuer, workspace.keys().identity_header)
        async with (
            local_acs(
                workspace, Ports(acs=0), issuer, Authority(), identity.control_routes()
            ) as acs,
            serving(identity.application(), listen(0, "another port")) as served,
        ):
            yield Azure(acs, f"http://localhost:{served.port}{managed_identity.PATH}")
