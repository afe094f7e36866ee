"""The composition root: settings → credential → clients → lifecycle, created once per worker."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from azure.core.settings import settings as azure_settings

from identity_service.access_lifecycle import TeamsAccess
from identity_service.errors import NotConfigured
from identity_service.lifecycle import Lifecycle
from identity_service.limits import Traffic, UserBudgets, Verifications
from identity_service.log import EventLog, restrain_libraries
from identity_service.operations.status import Readiness
from identity_service.policies import ServiceAuthentication
from identity_service.ports import AccessRegistry, Acs, Clock, Registry, TeamsAssignments
from identity_service.resource import ResourceGuard
from identity_service.settings import Settings, read_settings

if TYPE_CHECKING:
    from identity_service.azure.clients import Clients

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
        self._missing_package = _set_up_telemetry() if settings.telemetry else ""
        self._is_traced = settings.telemetry and not self._missing_package
        if not self._is_traced:
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
        # Not at the start: the host shows only what is logged in an invocation.
        if self._missing_package:
            events.error(
                "telemetry_not_installed",
                missing=self._missing_package,
                remedy="Append '-r requirements-telemetry.txt' to requirements.txt and publish"
                " again, or turn OpenTelemetry off. Until then the app works without it.",
            )
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
    def acs(self) -> Acs:
        """The identities of the ACS resource."""
        return self._clients.acs

    @cached_property
    def teams_assignments(self) -> TeamsAssignments:
        """Who may use the ACS resource with an Entra sign-in of their own."""
        return self._clients.teams_assignments

    @cached_property
    def registry(self) -> Registry:
        """The registry."""
        return self._clients.registry

    @cached_property
    def access_registry(self) -> AccessRegistry:
        """The rows about Teams Phone access, in the registry's table."""
        return self._clients.access_registry

    @cached_property
    def _clients(self) -> "Clients":
        # Here, because it imports the SDKs and aiohttp: two thirds of what there is to import. So
        # the host knows the functions sooner, and a call that is refused needs none of it.
        from identity_service.azure.clients import Clients  # noqa: PLC0415 -- see above

        return Clients(self.settings, traced=self._is_traced)

    @cached_property
    def lifecycle(self) -> Lifecycle:
        """The identity protocol."""
        return Lifecycle(self.acs, self.registry, self.clock, self.resource.accept)

    @cached_property
    def teams_access(self) -> TeamsAccess:
        """The protocol of Teams Phone access."""
        return TeamsAccess(
            self.teams_assignments, self.access_registry, self.clock, self.resource.assume
        )

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
        await self._clients.warm_up()


def _set_up_telemetry() -> str:
    """Record metrics and scrub traces. Return the name of a package that this lacks, if any."""
    try:
        # Here, because they cost a worker start-up time, and are optional dependencies.
        from identity_service.metrics import record_events  # noqa: PLC0415 -- see above
        from identity_service.traces import scrub_spans  # noqa: PLC0415 -- see above
    except ImportError as error:
        return error.name or str(error)
    record_events()
    scrub_spans()
    return ""
