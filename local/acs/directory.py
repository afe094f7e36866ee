"""The identities of one resource, and which of their tokens are alive."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal
from uuid import uuid4

from local.acs import errors
from local.acs.tokens import AccessToken

Death = Literal["unknown", "deleted", "revoked"]


@dataclass(slots=True)
class Identity:
    """One identity; `alive` maps the keys of its unrevoked tokens to when they expire."""

    id: str
    deleted: bool = False
    alive: dict[str, float] = field(default_factory=dict)

    @property
    def skype_id(self) -> str:
        """How tokens name the identity."""
        return self.id.removeprefix("8:")

    def count_alive(self, now: float) -> int:
        """How many tokens are neither revoked nor expired."""
        return sum(now < expires for expires in self.alive.values())


class Directory:
    """Remembers every identity, the deleted ones too: the service tells them from strangers."""

    def __init__(self, resource_id: str) -> None:
        self._resource_id = resource_id
        self._identities: dict[str, Identity] = {}

    def __iter__(self) -> Iterator[Identity]:
        return iter(self._identities.values())

    def get(self, identity_id: str) -> Identity | None:
        """The identity in whatever state, or None where there has never been one."""
        return self._identities.get(identity_id)

    def create(self) -> Identity:
        """A new identity."""
        identity = Identity(f"8:acs:{self._resource_id}_{uuid4()}")
        self._identities[identity.id] = identity
        return identity

    def require(self, identity_id: str) -> Identity:
        """The active identity of that id.

        Raises:
            RefusedError: 401, it is not of this resource; 404, it has been deleted.
        """
        identity = self.get(identity_id)
        if identity is None:
            raise errors.identity_not_owned()
        if identity.deleted:
            raise errors.identity_not_found()
        return identity

    def remember(self, identity: Identity, token: AccessToken) -> None:
        """Count a token among the living."""
        identity.alive[token.key] = token.expires

    def revoke(self, identity_id: str) -> None:
        """Kill every token issued so far.

        Raises:
            RefusedError: as for `require`.
        """
        self.require(identity_id).alive.clear()

    def delete(self, identity_id: str) -> None:
        """Kill every token, and issue none again.

        Raises:
            RefusedError: as for `require`.
        """
        self.revoke(identity_id)
        self._identities[identity_id].deleted = True

    def why_dead(self, skype_id: str, key: str) -> Death | None:
        """Why an unexpired token does not work, or None where it does."""
        identity = self.get(f"8:{skype_id}")
        if identity is None:
            return "unknown"
        if identity.deleted:
            return "deleted"
        return None if key in identity.alive else "revoked"

    def clear(self) -> None:
        """Forget everything."""
        self._identities.clear()
