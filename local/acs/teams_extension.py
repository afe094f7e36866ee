"""Access to Teams Phone: assignments, and the Entra users who exchange their own tokens.

No trusted service takes part in an exchange: the client SDK sends the user's token itself. It
succeeds if the resource's owner has assigned the user.
Source: https://learn.microsoft.com/rest/api/communication/identity/operation-groups
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import jwt

from local.acs import errors
from local.acs.contract import AssignmentRequest, Request, parse_guid
from local.acs.tokens import Signer
from local.entra import TEAMS_AUDIENCE, Issuer

# The permission that an application needs for the exchange.
PERMISSION = "TeamsExtension.ManageCalls"
# The name of an assigned user in tokens: the resource, the tenant and the object.
_GUID = "[0-9a-f-]{36}"
_USER = re.compile(f"acs:{_GUID}_{_GUID}_{_GUID}")


@dataclass(slots=True)
class Assignment:
    """One assignment. `tokens` maps the ids of its user's tokens to their expiry."""

    tenant_id: str
    object_id: str
    requested: AssignmentRequest
    tokens: dict[str, float] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The assignment as responses contain it."""
        document: dict[str, Any] = {
            "objectId": self.object_id,
            "tenantId": self.tenant_id,
            "principalType": self.requested.principal_type,
        }
        if self.requested.client_ids is not None:
            document["clientIds"] = self.requested.client_ids
        return document


class TeamsExtension:
    """The assignments of the resource. They are named by tenant and object."""

    def __init__(
        self, issuer: Issuer, resource_id: str, signer: Signer, clock: Callable[[], float]
    ) -> None:
        self._issuer = issuer
        self._resource_id = resource_id
        self._signer = signer
        self._clock = clock
        self._assignments: dict[str, Assignment] = {}
        # The users who had an assignment.
        self._removed: set[str] = set()

    def __iter__(self) -> Iterator[Assignment]:
        return iter(self._assignments.values())

    def put(self, request: Request, requested: AssignmentRequest) -> tuple[Assignment, bool]:
        """Create the assignment or replace it. The bool: whether it is new.

        Replacing it revokes no token. Assumed.

        Raises:
            ServiceError: 400, an id is no GUID.
        """
        tenant_id, object_id = _ids(request)
        name = self._name(tenant_id, object_id)
        old = self._assignments.get(name)
        tokens = old.tokens if old else {}
        self._assignments[name] = Assignment(tenant_id, object_id, requested, tokens)
        return self._assignments[name], old is None

    def require(self, request: Request) -> Assignment:
        """The assignment.

        Raises:
            ServiceError: 400, an id is no GUID; 404, there is none.
        """
        assignment = self._assignments.get(self._name(*_ids(request)))
        if assignment is None:
            raise errors.assignment_not_found()
        return assignment

    def delete(self, request: Request) -> None:
        """Delete the assignment and revoke its user's tokens.

        Raises:
            ServiceError: As for `require`. The 404 is assumed.
        """
        assignment = self.require(request)
        name = self._name(assignment.tenant_id, assignment.object_id)
        del self._assignments[name]
        self._removed.add(name)

    def authenticate(self, authorization: str) -> dict[str, Any]:
        """The claims of the Entra token in this header.

        Raises:
            ServiceError: 401, there is no valid token of a user, or without the permission.
        """
        scheme, _, token = authorization.partition(" ")
        try:
            claims = self._issuer.verify(token, TEAMS_AUDIENCE)
        # A header may contain bytes that are not text. PyJWT then raises UnicodeEncodeError.
        except (jwt.InvalidTokenError, UnicodeEncodeError) as error:
            raise errors.denied() from error
        permitted = PERMISSION in str(claims.get("scp", "")).split()
        if scheme.lower() != "bearer" or not claims.get("oid") or not permitted:
            raise errors.denied()
        return claims

    def exchange(self, authorization: str) -> dict[str, Any]:
        """The user and an access token, which expires with the Entra token.

        Raises:
            ServiceError: As for `authenticate`; 403, the user is not assigned.
        """
        claims = self.authenticate(authorization)
        name = self._name(claims["tid"], claims["oid"])
        assignment = self._assignments.get(name)
        client_id = claims.get("appid") or claims.get("azp")
        if assignment is None or client_id not in (assignment.requested.client_ids or ()):
            raise errors.not_assigned()
        token = self._signer.sign(name, ("voip",), now=self._clock(), expires=claims["exp"])
        assignment.tokens[token.id] = token.expires
        return {"identity": {"id": f"8:{name}"}, "accessToken": token.document()}

    def has(self, skype_id: str) -> bool:
        """Whether a token with this name is of a user with an assignment, or of a former one."""
        return _USER.fullmatch(skype_id) is not None

    def why_invalid(self, skype_id: str, token_id: str) -> Literal["unknown", "revoked"] | None:
        """Why an unexpired token does not work."""
        assignment = self._assignments.get(skype_id)
        if assignment and token_id in assignment.tokens:
            return None
        return "revoked" if assignment or skype_id in self._removed else "unknown"

    def count_live_tokens(self, assignment: Assignment) -> int:
        """The number of tokens that are neither revoked nor expired."""
        now = self._clock()
        return sum(now < expires for expires in assignment.tokens.values())

    def clear(self) -> None:
        """Remove all assignments."""
        self._assignments.clear()
        self._removed.clear()

    def _name(self, tenant_id: str, object_id: str) -> str:
        return f"acs:{self._resource_id}_{tenant_id}_{object_id}"


def _ids(request: Request) -> tuple[str, str]:
    return parse_guid(request.tenant_id, "TenantId"), parse_guid(request.object_id, "ObjectId")
