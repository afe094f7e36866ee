"""Whether the app uses the ACS resource that its registry belongs to.

An identity exists in one resource only, and its id contains the GUID of that resource. At another
resource, the app can neither revoke nor purge what its registry has. So the registry records its
resource, and an app at another one changes nothing.
"""

import asyncio
from collections import Counter

from identity_service.errors import IdentityNotFound, ServiceError, WrongResource
from identity_service.identity import State, resource_of
from identity_service.log import EventLog
from identity_service.policies import VERIFICATION
from identity_service.ports import Acs, Conflict, Registry

events = EventLog(__name__)

# Seconds after which a result that is not final is found out again. So a corrected mistake is
# noticed soon, and calls that are refused cost next to nothing.
RECHECK = 5.0
# Seconds. During an outage of ACS, calls that do not need it should not wait long for this check.
ACS_TIMEOUT = 2.0
# The rows that are read, and how many of their identities ACS is asked about at most: if ACS owns
# one of them, it is the right resource.
ROWS = 20
QUESTIONS = 3
# ACS has confirmed that an identity in one of these states exists, unless it is adopted.
_CONFIRMED = [state for state in State if state not in (State.REGISTERING, State.UNKNOWN)]
# What the log says if ACS does not own the registry's identities.
_ANOTHER = "another"
_REMEDY = (
    "point COMMUNICATION_SERVICES_ENDPOINT and COMMUNICATION_SERVICES_RESOURCE_ID at the recorded"
    " resource; to use another one, see docs/operate.md, Move to another ACS resource"
)


class ResourceGuard:
    """Compares the resource that the registry records, the setting, and what ACS itself shows.

    A worker finds this out once: with one read of the record, one page of rows and, if there are
    any, one question to ACS. The setting alone proves nothing: somebody may have changed only the
    endpoint.

    Args:
        acs: The resource that the app uses.
        registry: The registry.
        setting: The GUID of the resource according to the settings. Empty if they do not say.
    """

    def __init__(self, acs: Acs, registry: Registry, setting: str) -> None:
        self._acs = acs
        self._registry = registry
        self._setting = setting
        # The GUIDs. Empty as long as they are not known.
        self._recorded = self._shown = ""
        self._checking: asyncio.Task[None] | None = None
        self._valid_until = 0.0

    async def check(self) -> None:
        """Check that it is the registry's resource. Parallel calls share this.

        If ACS does not respond, the setting alone decides: what is written then is finished by the
        sweep, which checks again.

        Raises:
            WrongResource: it is another one. The log names both.
            RegistryUnavailable: the record could not be read.
        """
        if self._is_proved:
            return
        if asyncio.get_running_loop().time() >= self._valid_until:
            if self._checking is None:
                self._checking = asyncio.create_task(self._compare())
                self._checking.add_done_callback(self._checked)
            await asyncio.shield(self._checking)
        self._require_one()

    async def accept(self, identity_id: str) -> None:
        """Check an id of which ACS has just proved that it is in its resource.

        The first one decides to which resource the registry belongs.

        Raises:
            WrongResource: it is of another resource than the registry, or than the setting says.
            RegistryUnavailable: the registry did not record the resource.
        """
        self._shown = resource_of(identity_id)
        if not self._recorded and self._setting in ("", self._shown):
            self._recorded = await self._record(self._shown)
        self._require_one()

    async def assume(self) -> None:
        """Record the resource of the setting, if the registry has no record.

        For Teams Phone access, because ACS does not say there to which resource an assignment
        belongs.

        Raises:
            RegistryUnavailable: the registry did not record the resource.
            WrongResource: the registry belongs to another one.
        """
        if self._setting and not self._recorded:
            self._recorded = await self._record(self._setting)
            self._require_one()

    @property
    def _is_proved(self) -> bool:
        return self._recorded == self._shown != "" and self._setting in ("", self._shown)

    def _require_one(self) -> None:
        """Require that everything that is known is the same resource."""
        if len({self._recorded, self._setting, self._shown} - {""}) > 1:
            events.error(
                "wrong_resource",
                recorded=self._recorded or None,
                setting=self._setting or None,
                acs=self._shown or None,
                remedy=_REMEDY,
            )
            raise WrongResource("The registry belongs to another ACS resource than this app uses.")

    def _checked(self, checking: asyncio.Task[None]) -> None:
        self._checking = None
        if not checking.cancelled():
            checking.exception()  # whoever waits for it gets it; asyncio must not log it as well

    async def _compare(self) -> None:
        recorded = await self._registry.read_resource()
        page = await self._registry.list_identities(_CONFIRMED, None, ROWS)
        ids = [row.id for row in page.items if not row.adopted]
        if recorded is None and ids:
            [(most_common, _)] = Counter(map(resource_of, ids)).most_common(1)
            recorded = await self._record(most_common)
        self._recorded = recorded or ""
        if self._shown in ("", _ANOTHER):
            self._shown = await self._ask_acs([each for each in ids if self._is_recorded(each)])
        self._valid_until = asyncio.get_running_loop().time() + RECHECK

    def _is_recorded(self, identity_id: str) -> bool:
        return resource_of(identity_id) == self._recorded

    async def _record(self, resource: str) -> str:
        """Record the resource, unless another worker was faster. Returns what is recorded."""
        try:
            await self._registry.record_resource(resource)
        except Conflict:
            return await self._registry.read_resource() or resource
        events.info("resource_recorded", resource=resource)
        return resource

    async def _ask_acs(self, ids: list[str]) -> str:
        """The recorded resource, if ACS owns one of its identities. Empty without a response."""
        shown = ""
        for identity_id in ids[:QUESTIONS]:
            try:
                async with asyncio.timeout(ACS_TIMEOUT):
                    await self._acs.issue_token(identity_id, VERIFICATION)
            except WrongResource:
                shown = _ANOTHER
            except IdentityNotFound:  # it was deleted there
                return self._recorded
            except (ServiceError, TimeoutError):
                return ""
            else:
                return self._recorded
        return shown
