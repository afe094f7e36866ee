"""The composition root: settings → credential → clients, made once per worker."""

import logging
from collections.abc import Mapping
from functools import cached_property

from azure.core.credentials import AzureKeyCredential
from azure.identity import AzureAuthorityHosts
from azure.identity.aio import DefaultAzureCredential

from identity_service.acs import ACS_SCOPE, AcsDirectory
from identity_service.clock import SystemClock
from identity_service.credential import Credential
from identity_service.errors import NotConfigured
from identity_service.events import Events
from identity_service.model import CleanupPolicy, DeletionPolicy, TokenPolicy
from identity_service.readiness import Readiness
from identity_service.registry import STORAGE_SCOPE, TableRegistry
from identity_service.settings import Settings, problem_base_uri

events = Events(__name__)

# Where credentials other than the managed identity get their tokens.
ENTRA = f"https://{AzureAuthorityHosts.AZURE_PUBLIC_CLOUD}"

_NO_SUCH_CREDENTIAL = (
    "AZURE_TOKEN_CREDENTIALS names no credential of azure-identity's: set it to"
    " ManagedIdentityCredential, or remove it."
)


class Services:
    """What the operations are given. Each part is made when first asked for.

    Everything is asked for inside the worker's event loop and nothing here awaits while it makes
    a part: two calls can never make two of one. Parts live as long as the worker, which the host
    ends without notice; nothing relies on their being closed.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.clock = SystemClock()

    @cached_property
    def settings(self) -> Settings:
        """The settings.

        Raises:
            NotConfigured: they are at fault; every fault is in the log.
        """
        try:
            settings = Settings.from_env(self._environ)
        except NotConfigured as fault:
            events.error("not_configured", faults=fault.detail)
            raise NotConfigured(
                "The service's settings are at fault: its log names each."
            ) from None
        if settings.telemetry:
            from identity_service.metrics import count_events  # noqa: PLC0415 -- costs a cold start time only where it is wanted

            count_events()
        return settings

    @property
    def problem_base_uri(self) -> str:
        """Where problems are explained, known even where other settings are at fault."""
        return problem_base_uri(self._environ, [])

    @property
    def deletion(self) -> DeletionPolicy:
        """What happens to deleted identities."""
        return self.settings.deletion

    @property
    def sign_in_enabled(self) -> bool:
        """Whether the platform checks who is signed in."""
        return self.settings.sign_in_enabled

    @property
    def service_tokens(self) -> TokenPolicy:
        """What tokens services may have."""
        return self.settings.service_tokens

    @property
    def user_tokens(self) -> TokenPolicy:
        """What tokens signed-in users may have."""
        return self.settings.user_tokens

    @property
    def registered_only(self) -> bool:
        """Whether identities that the registry does not know are refused."""
        return self.settings.registered_only

    @property
    def teams_app_id(self) -> str:
        """The app for which users' Teams tokens are exchanged."""
        return self.settings.teams_app_id

    @property
    def cleanup(self) -> CleanupPolicy:
        """How the sweep works."""
        return self.settings.cleanup

    @cached_property
    def credential(self) -> Credential:
        """The app's own credential in Entra."""
        return self._credential()

    @cached_property
    def acs(self) -> AcsDirectory:
        """The ACS identity directory."""
        # The SDKs log every request at INFO, headers included: our own line says it once.
        logging.getLogger("azure").setLevel(logging.WARNING)
        endpoint, key = self.settings.acs_endpoint, self.settings.acs_access_key
        return AcsDirectory.connect(
            endpoint,
            AzureKeyCredential(key) if key else self.credential,
            self.settings.proxy.towards(endpoint),
        )

    @cached_property
    def registry(self) -> TableRegistry:
        """The registry."""
        storage = self.settings.storage
        proxies = self.settings.proxy.towards(storage.address)
        if storage.connection_string:
            return TableRegistry.from_connection_string(storage.connection_string, proxies)
        return TableRegistry.connect(storage.table_service, self.storage_credential, proxies)

    @cached_property
    def storage_credential(self) -> Credential:
        """The same credential, unless the settings name another identity for storage."""
        client_id = self.settings.storage.client_id
        if not client_id:
            return self.credential
        return self._credential(managed_identity_client_id=client_id)

    @cached_property
    def readiness(self) -> Readiness:
        """The last look at the upstreams."""
        return Readiness(self.acs, self.registry, self.clock)

    def connect(self) -> None:
        """Make every part that there is only one of.

        Raises:
            NotConfigured: the settings are at fault.
        """
        _ = self.acs, self.registry

    async def warm_up(self) -> None:
        """Make every part and fetch the tokens ahead of the first request."""
        self.connect()
        if not self.settings.acs_access_key:
            await self.credential.get_token_info(ACS_SCOPE)
        if not self.settings.storage.connection_string:
            await self.storage_credential.get_token_info(STORAGE_SCOPE)

    def _credential(self, **options: str) -> Credential:
        proxies = self.settings.proxy.towards(ENTRA)
        try:
            source = DefaultAzureCredential(use_env_settings=False, proxies=proxies, **options)
        except ValueError as error:
            events.error("not_configured", faults=_NO_SUCH_CREDENTIAL)
            raise NotConfigured(
                "The service's settings are at fault: its log names each."
            ) from error
        return Credential(source)
