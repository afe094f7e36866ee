"""Azure Communication Services in memory, whose tokens can be asked whether they still count."""

from datetime import timedelta

from identity_service.errors import IdentityNotFound
from identity_service.model import AccessToken, Scope
from identity_service.ports import Acs, Clock
from tests.remote import Remote

RESOURCE = "8:acs:00000000-1111-2222-3333-444444444444"


class MemoryAcs(Remote, Acs):
    """The port `Acs` in memory.

    Attributes:
        identities: The ids that exist, oldest first.
        asked_for: The ids that tokens were asked for, in order.
        revocations: The ids whose tokens were revoked, in order.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.identities: list[str] = []
        self.asked_for: list[str] = []
        self.revocations: list[str] = []
        self._clock = clock
        self._alive: dict[str, str] = {}
        self._numbers = 0

    def is_alive(self, token: str) -> bool:
        """Whether the token still counts."""
        return token in self._alive

    def add(self) -> str:
        """An identity that somebody else made."""
        self._numbers += 1
        self.identities.append(f"{RESOURCE}_{self._numbers:08x}-1111-2222-3333-444444444444")
        return self.identities[-1]

    async def create(self) -> str:
        """See `ports.Acs`."""
        return await self.perform("create", self.add)

    async def create_with_token(
        self, scopes: list[Scope], minutes: int | None
    ) -> tuple[str, AccessToken]:
        """See `ports.Acs`."""

        def effect() -> tuple[str, AccessToken]:
            identity_id = self.add()
            return identity_id, self._mint(identity_id, minutes)

        return await self.perform("create_with_token", effect)

    async def issue_token(
        self, identity_id: str, scopes: list[Scope], minutes: int | None
    ) -> AccessToken:
        """See `ports.Acs`."""

        def effect() -> AccessToken:
            self.asked_for.append(identity_id)
            self._demand(identity_id)
            return self._mint(identity_id, minutes)

        return await self.perform("issue_token", effect)

    async def revoke_tokens(self, identity_id: str) -> None:
        """See `ports.Acs`."""

        def effect() -> None:
            self._demand(identity_id)
            self.revocations.append(identity_id)
            self._kill_tokens(identity_id)

        await self.perform("revoke_tokens", effect)

    async def delete(self, identity_id: str) -> None:
        """See `ports.Acs`."""

        def effect() -> None:
            self._demand(identity_id)
            self.identities.remove(identity_id)
            self._kill_tokens(identity_id)

        await self.perform("delete", effect)

    async def exchange_teams_token(self, token: str, app_id: str, user_id: str) -> AccessToken:
        """See `ports.Acs`."""
        return await self.perform("exchange_teams_token", lambda: self._mint(user_id, None))

    def _demand(self, identity_id: str) -> None:
        if identity_id not in self.identities:
            raise IdentityNotFound("ACS has no such identity.")

    def _mint(self, identity_id: str, minutes: int | None) -> AccessToken:
        self._numbers += 1
        token = f"token-{self._numbers}"
        self._alive[token] = identity_id
        return AccessToken(token, self._clock.now() + timedelta(minutes=minutes or 1440))

    def _kill_tokens(self, identity_id: str) -> None:
        self._alive = {token: owner for token, owner in self._alive.items() if owner != identity_id}
