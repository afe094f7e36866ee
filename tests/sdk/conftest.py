"""The emulator and the managed identity endpoint, for the SDKs in Python and in Node."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from local import managed_identity
from local.azure import LocalAcs, Ports, local_acs
from local.entra import Issuer
from local.managed_identity import ManagedIdentity
from local.servers import Authority, listen, serving
from local.workspace import Workspace
from tests.local.acs.support import EmulatorClient, run_in_thread


@dataclass(frozen=True)
class Azure:
    """The running servers.

    Attributes:
        acs: The emulator.
        client: A client for its control endpoint.
        environment: The variables by which SDKs find the emulator and the managed identity.
    """

    acs: LocalAcs
    client: EmulatorClient
    environment: dict[str, str]

    def identity_requests(self) -> int:
        """The number of tokens for ACS that the managed identity endpoint has issued."""
        requests: dict[str, Any] = self.client.control("GET", "/managed-identity").document
        return int(requests["requests"].get("https://communication.azure.com", 0))


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """Both servers, in another thread."""
    with run_in_thread(_running(tmp_path_factory.mktemp("sdk"))) as azure:
        yield azure


@asynccontextmanager
async def _running(folder: Path) -> AsyncIterator[Azure]:
    issuer = Issuer()
    with Workspace(folder).locked() as workspace:
        keys = workspace.keys()
        identity = ManagedIdentity(issuer, keys.identity_header)
        async with (
            local_acs(
                workspace, Ports(acs=0), issuer, Authority(), identity.control_routes()
            ) as acs,
            serving(identity.application(), listen(0, "another port")) as served,
        ):
            client = EmulatorClient(
                acs.emulator,
                issuer,
                (keys.acs_primary_key, keys.acs_secondary_key),
                keys.control_key,
                acs.bundle,
                urlsplit(acs.endpoint).port or 0,
            )
            environment = {
                **acs.environment(),
                "ACS_KEY": keys.acs_secondary_key,
                "IDENTITY_ENDPOINT": f"http://localhost:{served.port}{managed_identity.PATH}",
                "IDENTITY_HEADER": keys.identity_header,
            }
            yield Azure(acs, client, environment)
