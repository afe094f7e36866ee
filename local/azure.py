"""The local Azure: every part except the app, started and stopped together."""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from aiohttp import web

from local import managed_identity
from local.acs import Emulator
from local.application_insights import ApplicationInsights
from local.azurite import Azurite, AzuritePorts, azurite
from local.children import Children
from local.entra import ROLES, Issuer, SignIn
from local.managed_identity import ManagedIdentity
from local.servers import Authority, listen, serving
from local.workspace import CannotStart, Keys, Workspace

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = "local.settings.sample.json"
# Settings of which each selects another ACS resource than the emulator's.
_OTHER_RESOURCE = ("COMMUNICATION_SERVICES_ENDPOINT", "COMMUNICATION_SERVICES_CONNECTION_STRING")
_RESOURCE_ID = "COMMUNICATION_SERVICES_RESOURCE_ID"
# Settings of the app that cannot be changed, each with the reason.
NOT_LOCAL = {
    **dict.fromkeys(
        ("HTTPS_PROXY", "NO_PROXY"), "the app would use the proxy for loopback addresses too"
    ),
    **dict.fromkeys(
        (
            "AzureWebJobsStorage",
            "AzureWebJobsStorage__accountName",
            "AzureWebJobsStorage__clientId",
            "REGISTRY_STORAGE__tableServiceUri",
            "REGISTRY_STORAGE__clientId",
        ),
        "the registry is in Azurite, or at AzureWebJobsStorage__tableServiceUri",
    ),
    **dict.fromkeys(
        (
            "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
            "APPLICATIONINSIGHTS_CONNECTION_STRING",
            "AzureFunctionsJobHost__telemetryMode",
            "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY",
            "PYTHON_ENABLE_OPENTELEMETRY",
        ),
        "`python -m local telemetry` enables telemetry",
    ),
    "WEBSITE_AUTH_ENABLED": "the local front end sets it",
}


@dataclass(frozen=True)
class Ports:
    """The ports on loopback. 0 selects a free port."""

    app: int = 7071
    acs: int = 7072
    identity: int = 7073
    blob: int = 7074
    queue: int = 7075
    table: int = 7076


class OutageRequest(msgspec.Struct, forbid_unknown_fields=True):
    """How long ACS cannot be reached, in seconds."""

    seconds: Annotated[float, msgspec.Meta(gt=0, le=600)]


@dataclass(frozen=True)
class LocalAcs:
    """The running ACS emulator."""

    emulator: Emulator
    endpoint: str
    keys: Keys
    bundle: Path

    @property
    def connection_string(self) -> str:
        """The connection string, as the Azure portal shows it."""
        return f"endpoint={self.endpoint}/;accesskey={self.keys.acs_primary_key}"

    @property
    def control_url(self) -> str:
        """The address of the control endpoint."""
        return f"{self.endpoint}/_control"

    @property
    def trust(self) -> dict[str, str]:
        """The variables by which clients trust the local certificate authority.

        Each is for other clients: the async SDKs for Python, the sync ones, curl, Node.
        """
        names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
        return dict.fromkeys(names, str(self.bundle))

    def environment(self) -> dict[str, str]:
        """The part of `.local/env` about ACS."""
        teams = self.emulator.teams_user()
        return {
            "ACS_ENDPOINT": self.endpoint,
            "ACS_CONNECTION_STRING": self.connection_string,
            **self.trust,
            "ACS_CONTROL_URL": self.control_url,
            "ACS_CONTROL_KEY": self.keys.control_key,
            "ACS_TEAMS_USER_TOKEN": teams.token,
            "ACS_TEAMS_EXPIRED_TOKEN": teams.expired_token,
            "ACS_TEAMS_APP_ID": teams.app_id,
            "ACS_TEAMS_TENANT_ID": teams.tenant_id,
            "ACS_TEAMS_USER_ID": teams.user_id,
        }


@dataclass(frozen=True)
class LocalAzure:
    """The running parts and their addresses."""

    acs: LocalAcs
    identity_endpoint: str
    storage: Azurite
    keys: Keys
    sign_in: SignIn
    insights: ApplicationInsights
    insights_endpoint: str
    changes: Mapping[str, str]
    children: Children

    def settings(self) -> dict[str, str]:
        """The app's settings: the sample, with the addresses of the running parts, and changes."""
        return {
            **sample_settings(),
            "AzureWebJobsStorage__blobServiceUri": self.storage.blob,
            "AzureWebJobsStorage__queueServiceUri": self.storage.queue,
            "AzureWebJobsStorage__tableServiceUri": self.storage.table,
            "IDENTITY_ENDPOINT": self.identity_endpoint,
            "IDENTITY_HEADER": self.keys.identity_header,
            "SSL_CERT_FILE": str(self.acs.bundle),
            **self._acs_settings(),
            **self.changes,
        }

    def _acs_settings(self) -> dict[str, str]:
        if not self.uses_emulator:
            return {_OTHER_RESOURCE[0]: ""}
        return {
            _OTHER_RESOURCE[0]: self.acs.endpoint,
            _RESOURCE_ID: self.acs.emulator.resource_id,
            "TEAMS_APP_ID": self.acs.emulator.teams_user().app_id,
        }

    @property
    def uses_emulator(self) -> bool:
        """Whether the app uses the ACS emulator, and not a resource in Azure."""
        return not any(self.changes.get(name) for name in _OTHER_RESOURCE)

    @property
    def services_use_entra(self) -> bool:
        """Whether services authenticate with Entra, and not with function keys."""
        return self.settings().get("SERVICE_AUTHENTICATION") == "entra"

    @property
    def holds_purges(self) -> bool:
        """Whether the sweep purges no deleted identity."""
        return self.settings()["PURGE_HOLD"].strip().lower() == "true"

    @property
    def token_scopes(self) -> list[str]:
        """The scopes to request in examples: chat and voip, or what the settings allow instead."""
        allowed = self.settings()["SERVICE_TOKEN_SCOPES"].replace(",", " ").split()
        shown = ["chat", "voip"]
        return [scope for scope in shown if scope in allowed] or allowed or shown

    def service_headers(self) -> dict[str, str]:
        """The headers with which a service that may do everything calls the app."""
        if self.services_use_entra:
            return {"Authorization": f"Bearer {self.sign_in.application_token('local', ROLES)}"}
        return {"x-functions-key": self.keys.function_key}

    def master_headers(self) -> dict[str, str]:
        """The headers for the host's own endpoints."""
        return {"x-functions-key": self.keys.master_key}

    def telemetry_settings(self) -> dict[str, str]:
        """More settings, with which the app sends all telemetry to Application Insights."""
        return self.insights.settings(self.insights_endpoint, str(self.acs.bundle))

    def sign_in_endpoint(self) -> str:
        """The front end's configuration for local pages: a value for LOCAL_HOST_SIGN_IN."""
        document = {
            "url": f"{self.acs.control_url}/sign-in",
            "key": self.keys.control_key,
            "certificates": str(self.acs.bundle),
        }
        return json.dumps(document)

    def environment(self, app_url: str) -> dict[str, str]:
        """The content of `.local/env`."""
        return {
            "FUNCTIONS_URL": app_url,
            "FUNCTION_KEY": self.keys.function_key,
            "MASTER_KEY": self.keys.master_key,
            "IDENTITY_ENDPOINT": self.identity_endpoint,
            "IDENTITY_HEADER": self.keys.identity_header,
            **self.acs.environment(),
        }


def sample_settings() -> dict[str, str]:
    """The values of local.settings.sample.json.

    Raises:
        CannotStart: the file cannot be read.
    """
    try:
        values: dict[str, str] = json.loads((ROOT / SAMPLE).read_text())["Values"]
    except (OSError, ValueError, LookupError) as error:
        raise CannotStart(f"{SAMPLE} cannot be read: {error}") from None
    return values


def setting_names() -> list[str]:
    """The names of the settings that can be changed."""
    return [*sample_settings(), _RESOURCE_ID]


@contextlib.asynccontextmanager
async def local_acs(
    workspace: Workspace,
    ports: Ports,
    issuer: Issuer,
    authority: Authority,
    control_routes: Sequence[web.RouteDef] = (),
) -> AsyncIterator[LocalAcs]:
    """Run the ACS emulator.

    Raises:
        CannotStart: its port is in use.
    """

    async def begin_outage(request: web.Request) -> web.Response:
        received = msgspec.json.decode(await request.read(), type=OutageRequest)
        served.begin_outage(received.seconds)
        return web.Response(status=202)

    keys = workspace.keys()
    authority.write_bundle(workspace.bundle)
    emulator = Emulator(
        issuer=issuer,
        access_keys=(keys.acs_primary_key, keys.acs_secondary_key),
        control_key=keys.control_key,
        control_routes=[*control_routes, web.post("/outage", begin_outage)],
    )
    listener = listen(ports.acs, "--acs-port")
    async with serving(emulator.application(), listener, authority.server_context()) as served:
        yield LocalAcs(emulator, f"https://localhost:{served.port}", keys, workspace.bundle)


@contextlib.asynccontextmanager
async def local_azure(
    workspace: Workspace, ports: Ports, changes: Mapping[str, str] | None = None
) -> AsyncIterator[LocalAzure]:
    """Run every part except the app. `changes` replace settings of the app.

    Raises:
        CannotStart: a port is in use, or Node is missing.
    """
    issuer, authority, keys = Issuer(), Authority(), workspace.keys()
    identity, sign_in = ManagedIdentity(issuer, keys.identity_header), SignIn(issuer)
    control_routes = [*identity.control_routes(), *sign_in.control_routes()]
    insights = ApplicationInsights(issuer)
    async with contextlib.AsyncExitStack() as stack:
        acs = await stack.enter_async_context(
            local_acs(workspace, ports, issuer, authority, control_routes)
        )
        listener = listen(ports.identity, "--identity-port")
        served = await stack.enter_async_context(serving(identity.application(), listener))
        endpoint = f"http://localhost:{served.port}{managed_identity.PATH}"
        storage_ports = AzuritePorts(ports.blob, ports.queue, ports.table)
        storage = await stack.enter_async_context(
            azurite(workspace.folder / "azurite", storage_ports, authority, workspace.children)
        )
        # Only the app calls Application Insights, so any port will do.
        served = await stack.enter_async_context(
            serving(insights.application(), listen(0, "-"), authority.server_context())
        )
        insights_endpoint = f"https://localhost:{served.port}/"
        yield LocalAzure(
            *(acs, endpoint, storage, keys, sign_in, insights, insights_endpoint),
            changes=changes or {},
            children=workspace.children,
        )
