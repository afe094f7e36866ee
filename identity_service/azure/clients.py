"""The clients of a worker. Only this module is imported to get all of Azure's SDKs."""

from functools import cached_property

from identity_service.azure.acs import AcsClient
from identity_service.azure.acs_calls import ACS_SCOPE
from identity_service.azure.acs_teams import AcsTeamsAssignments
from identity_service.azure.credential import AUTHORITY, Credential
from identity_service.azure.registries import TableAccessRegistry, TableRegistry
from identity_service.azure.row_reader import STORAGE_SCOPE
from identity_service.settings import Settings


class Clients:
    """The app's credentials and the adapters, each created when it is first used.

    Args:
        settings: The settings.
        traced: Whether OpenTelemetry records the requests to ACS.
    """

    def __init__(self, settings: Settings, *, traced: bool = False) -> None:
        self._settings = settings
        self._traced = traced

    @cached_property
    def credential(self) -> Credential:
        """The app's own credential."""
        return self._credential(self._settings.client_id)

    @cached_property
    def storage_credential(self) -> Credential:
        """The credential for storage: the app's own, unless the settings name another identity."""
        client_id = self._settings.storage.client_id
        return self._credential(client_id) if client_id else self.credential

    @cached_property
    def acs(self) -> AcsClient:
        """The identities of the ACS resource."""
        endpoint, authentication, proxy = self._acs
        return AcsClient.connect(endpoint, authentication, proxy, traced=self._traced)

    @cached_property
    def teams_assignments(self) -> AcsTeamsAssignments:
        """Who may use the ACS resource with an Entra sign-in of their own."""
        endpoint, authentication, proxy = self._acs
        return AcsTeamsAssignments.connect(endpoint, authentication, proxy, traced=self._traced)

    @cached_property
    def registry(self) -> TableRegistry:
        """The registry's table."""
        storage = self._settings.storage
        proxy = self._settings.proxy_for(storage.address)
        if storage.connection_string:
            return TableRegistry.from_connection_string(storage.connection_string, proxy)
        return TableRegistry.connect(storage.table_service, self.storage_credential, proxy)

    @cached_property
    def access_registry(self) -> TableAccessRegistry:
        """The rows about Teams Phone access, in the same table."""
        return TableAccessRegistry.sharing(self.registry)

    async def warm_up(self) -> None:
        """Fetch the tokens that the clients need."""
        if not self._settings.acs_access_key:
            await self.credential.warm_up(ACS_SCOPE)
        if not self._settings.storage.connection_string:
            await self.storage_credential.warm_up(STORAGE_SCOPE)

    @property
    def _acs(self) -> tuple[str, Credential | str, str]:
        settings = self._settings
        authentication = settings.acs_access_key or self.credential
        return settings.acs_endpoint, authentication, settings.proxy_for(settings.acs_endpoint)

    def _credential(self, client_id: str) -> Credential:
        return Credential.connect(client_id, self._settings.proxy_for(AUTHORITY))
