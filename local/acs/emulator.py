"""Puts the parts together."""

import time
from collections.abc import Callable, Sequence

from aiohttp import web

from local.acs.access_keys import AccessKeys
from local.acs.authentication import Authenticator
from local.acs.control import CONTROL_PREFIX, Control
from local.acs.resource import Resource
from local.acs.sabotage import Saboteur
from local.acs.server import Server
from local.acs.service import Service
from local.acs.teams import Teams, TeamsUser
from local.entra import Issuer


class Emulator:
    """One Communication Services resource, to be served over TLS.

    Args:
        issuer: The tenant whose Entra tokens count, for callers and for Teams users.
        access_keys: Primary and secondary, in base64; both are valid, until one is made anew.
        control_key: What the control endpoint wants in its header.
        control_routes: What else is controlled at the same address, behind the same key.
        clock: The time in seconds since the epoch. Entra tokens are judged by the real one.

    Raises:
        ValueError: An access key is not base64.
    """

    def __init__(
        self,
        *,
        issuer: Issuer,
        access_keys: tuple[str, str],
        control_key: str,
        control_routes: Sequence[web.RouteDef] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._resource = Resource(clock)
        self._teams = Teams(issuer)
        keys = AccessKeys(*access_keys)
        self._authenticator = Authenticator(issuer, keys, clock)
        self._control = Control(self._resource, self._teams, keys, control_key, control_routes)
        self.resource_id = self._resource.id

    def application(self) -> web.Application:
        """The service and its control endpoint."""
        application = web.Application()
        # First, for the server's own routes end with one that matches everything.
        application.add_subapp(CONTROL_PREFIX, self._control.application())
        service = Service(self._resource, self._authenticator, self._teams)
        Server(self._resource, service, Saboteur(self._resource)).add_routes(application)
        application.on_shutdown.append(self._let_go)
        return application

    def teams_user(self) -> TeamsUser:
        """The made-up Teams user, always the same, with fresh tokens."""
        return self._teams.user()

    async def _let_go(self, _application: web.Application) -> None:
        # A server waits for its calls before it stops; those that hang would make it wait a minute.
        self._resource.holds.release(proceed=False)
