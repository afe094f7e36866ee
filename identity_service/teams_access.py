"""Access to Teams Phone: who may use the ACS resource with a sign-in of their own."""

from typing import Literal

import msgspec

PrincipalType = Literal["user", "resourceAccount", "teamsResourceAccount"]


class Assignment(msgspec.Struct, frozen=True):
    """What ACS holds about a user or a resource account. Its tenant and its object name it.

    Attributes:
        principal_type: What the object is.
        client_ids: The applications with which a user may sign in. Resource accounts need none.
    """

    principal_type: PrincipalType
    client_ids: tuple[str, ...]
