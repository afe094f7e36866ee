"""The composition root: settings → credential → clients → lifecycle, created once per worker."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property

from azure.core.settings import settings as azure_settings

from identity_service.access_lifecycle import TeamsAccess
from identity_service.azure.acs import AcsClient
from identity_service.azure.acs_calls import ACS_SCOPE
from identity_service.azure.acs_teams import AcsTeamsAssignments
from identity_service.azure.credential import AUTHORITY, Credential
from identity_service.azure.row_reader import STORAGE_SCOPE
from identity_service.azure.tables import TableAccessRegistry, TableRegistry
from identity_service.errors import NotConfigured
from identity_service.lifecycle import Lifecycle
from identity_service.limits import Traffic, UserBudgets, Verifications
from identity_service.log import EventLog, restrain_libraries
from identity_service.operations.status import Readiness
from identity_service.policies import ServiceAuthentication
from identity_service.ports import AccessRegistry, Acs, Clock, Registry, TeamsAssignments
from identity_service.resource import ResourceGuard
from identity_service.settings import Settings, read_settings

events = EventLog(__name__)


class SystemClock:
    """Implements `ports.Clock` with the machine's clock."""

    def now(self) -> datetime:
        """The current time in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class Services:
    """Everything that the operations need. A part is created when it is first used.

    Set-up of the whole process happens here, when the object is constructed, and not in a part: any
    part may be the first that a worker uses.

    Parts are created inside the worker's event loop and without awaiting, so two calls never create
    the same part twice. The host kills a worker without notice, so no part relies on being closed.
    """

    clock: Clock
    problem_base_uri: str
    service_authentication: ServiceAuthentication
    sign_in_enabled: bool
    user_budgets: UserBudgets
    traffic: Traffic

    def __init__(self, environ: Mapping[str, str]) -> None:
        restrain_libraries()
        self._reading = read_settings(environ)
        self.clock = SystemClock()
        self.user_budgets = UserBudgets()
        self.traffic = Traffic()
        settings = self._reading.settings
        self.problem_base_uri = settings.problem_base_uri
        # Known although other settings are invalid: callers are checked before anything else.
        self.service_authentication = settings.service_authentication
        self.sign_in_enabled = settings.sign_in.enabled
        if settings.telemetry:
            # Here, because they cost a worker start-up time.
            from identity_service.metrics import record_events  # noqa: PLC0415 -- see above
            from identity_service.traces import scrub_spans  # noqa: PLC0415 -- see above

            record_events()
            scrub_spans()
        else:
            # Otherwise the SDKs look for a tracer several times per call.
            azure_settings.tracing_enabled = False

    @cached_property
    def settings(self) -> Settings:
        """The settings.

        Raises:
            NotConfigured: some are invalid. The log names each of them.
        """
        for name, known in self._reading.misspelled.items():
            events.warning("setting_not_known", name=name, did_you_mean=known)
        if self._reading.invalid:
            events.error("not_configured", invalid=" ".join(self._reading.invalid))
            raise NotConfigured("The service has invalid settings. Its log names each of them.")
        return self._reading.settings

    @property
    def is_configured(self) -> bool:
        """Whether all settings are valid and the clients can be created."""
        try:
            _ = self.lifecycle
        except NotConfigured:
            return False
        return True

    @cached_property
    def credential(self) -> Credential:
        """The app's own credential."""
        return self._credential(self.settings.client_id)

    @cached_property
    def storage_credential(self) -> Credential:
        """The credential for storage: the app's own, unless the settings name another identity."""
        client_id = self.settings.storage.client_id
        return self._credential(client_id) if client_id else self.credential

    @cached_property
    def acs(self) -> Acs:
        """The identities of the ACS resource."""
        settings = self.settings
        return AcsClient.connect(
            settings.acs_endpoint,
            settings.acs_access_key or self.credential,
            settings.proxy_for(settings.acs_endpoint),
            traced=settings.telemetry,
        )

    @cached_property
    def teams_assignments(self) -> TeamsAssignments:
        """Who may use the ACS resource with an Entra sign-in of their own."""
        settings = self.settings
        return AcsTeamsAssignments.connect(
            settings.acs_endpoint,
            settings.acs_access_key or self.credential,
            settings.proxy_for(settings.acs_endpoint),
            traced=settings.telemetry,
        )

    @cached_property
    def registry(self) -> Registry:
        """The registry."""
        return self._table

    @cached_property
    def access_registry(self) -> AccessRegistry:
        """The rows about Teams Phone access, in the registry's table."""
        return TableAccessRegistry.sharing(self._table)

    @cached_property
    def _table(self) -> TableRegistry:
        storage = self.settings.storage
        proxy = self.settings.proxy_for(storage.address)
        if storage.connection_string:
            return TableRegistry.from_connection_string(storage.connection_string, proxy)
        return TableRegistry.connect(storage.table_service, self.storage_credential, proxy)

    @cached_property
    def lifecycle(self) -> Lifecycle:
        """The identity protocol."""
        return Lifecycle(self.acs, self.registry, self.clock, self.resource.accept)

    @cached_property
    def teams_access(self) -> TeamsAccess:
        """The protocol of Teams Phone access."""
        return TeamsAccess(self.teams_assignments, self.access_registry, self.clock)

    @cached_property
    def resource(self) -> ResourceGuard:
        """The check that the app uses the registry's ACS resource."""
        return ResourceGuard(self.acs, self.registry, self.settings.acs_resource_id)

    @cached_property
    def verifications(self) -> Verifications:
        """The limit of questions to ACS whether an identity exists."""
        return Verifications(self.settings.verifications_per_30s)

    @cached_property
    def readiness(self) -> Readiness:
        """The checks of the upstreams."""
        settings = self.settings
        return Readiness(
            self.acs,
            self.registry,
            self.access_registry,
            self.clock,
            settings.cleanup,
            self.resource,
        )

    async def warm_up(self) -> None:
        """Create the clients and fetch their tokens before the first request.

        Raises:
            NotConfigured: some settings are invalid.
        """
        _ = self.lifecycle
        if not self.settings.acs_access_key:
            await self.credential.warm_up(ACS_SCOPE)
        if not self.settings.storage.connection_string:
            await self.storage_credential.warm_up(STORAGE_SCOPE)

    def _credential(self, client_id: str) -> Credential:
        return Credential.connect(client_id, self.settings.proxy_for(AUTHORITY))
