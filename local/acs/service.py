"""The emulated service: the state of one resource, and the operations on it. No network I/O."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from local.acs import contract
from local.acs.authentication import AccessKeys, Authenticator
from local.acs.contract import Operation, Request, Response
from local.acs.directory import Directory
from local.acs.entra_users import EntraUsers
from local.acs.errors import ServiceError
from local.acs.quotas import Quota, Quotas
from local.acs.teams import Teams
from local.acs.teams_extension import TeamsExtension
from local.acs.tokens import Signer
from local.entra import Issuer


class Service:
    """One Communication Services resource.

    Every request is authenticated and validated, then counted against its quota, then executed.

    Raises:
        ValueError: An access key is not base64.
    """

    def __init__(
        self, issuer: Issuer, access_keys: tuple[str, str], clock: Callable[[], float]
    ) -> None:
        self.resource_id = str(uuid4())
        self.access_keys = AccessKeys(*access_keys)
        self.signer = Signer(self.resource_id)
        self.teams_extension = TeamsExtension(issuer, self.resource_id, self.signer, clock)
        self.directory = Directory(self.resource_id, self.signer, clock, self.teams_extension)
        self.quotas = Quotas(clock)
        self.teams = Teams(issuer)
        self.entra_users = EntraUsers(issuer, self.resource_id)
        self._authenticator = Authenticator(issuer, self.access_keys, clock)
        self._clock = clock
        self._operations = {
            Operation.CREATE: self._create,
            Operation.ISSUE: self._issue,
            Operation.REVOKE: self._revoke,
            Operation.DELETE: self._delete,
            Operation.EXCHANGE: self._exchange,
            Operation.EXCHANGE_ENTRA: self._exchange_entra,
            Operation.EXCHANGE_TEAMS_EXTENSION: self._exchange_teams_extension,
            Operation.PUT_ASSIGNMENT: self._put_assignment,
            Operation.GET_ASSIGNMENT: self._get_assignment,
            Operation.DELETE_ASSIGNMENT: self._delete_assignment,
        }

    def handle(self, request: Request) -> Response:
        """Execute the request."""
        try:
            self._authenticate(request)
            version = contract.check_version(request.api_version, request.operation)
            return self._operations[request.operation](request, version)
        except ServiceError as error:
            return Response.error(error.status, error.error, error.headers)

    def _authenticate(self, request: Request) -> None:
        authorization = request.headers.get("Authorization", "")
        match request.operation:
            case Operation.EXCHANGE_ENTRA:
                self.entra_users.authorize(authorization)
            case Operation.EXCHANGE_TEAMS_EXTENSION:
                self.teams_extension.authenticate(authorization)
            case _:
                self._authenticator.authenticate(request)

    def reset(self) -> None:
        """Remove identities and assignments, and turn quotas off. Keys and resource id stay."""
        self.directory.clear()
        self.teams_extension.clear()
        self.quotas.enforce(None)

    def _create(self, request: Request, version: str) -> Response:
        requested = contract.parse_create(request.body, version)
        self.quotas.acquire(Quota.CREATE_WITH_TOKEN if requested.scopes else Quota.CREATE)
        identity = self.directory.create()
        created: dict[str, Any] = {"identity": {"id": identity.id}}
        if requested.scopes:
            token = self.directory.issue_token(identity, requested.scopes, requested.minutes)
            created["accessToken"] = token.document()
        return Response.success(201, created)

    def _issue(self, request: Request, version: str) -> Response:
        requested = contract.parse_issue(request.body, version)
        self.quotas.acquire(Quota.ISSUE)
        identity = self.directory.require(request.identity_id)
        token = self.directory.issue_token(identity, requested.scopes, requested.minutes)
        return Response.success(200, token.document())

    def _revoke(self, request: Request, _version: str) -> Response:
        self.quotas.acquire(Quota.REVOKE)
        self.directory.revoke_tokens(request.identity_id)
        return Response(204)

    def _delete(self, request: Request, _version: str) -> Response:
        self.quotas.acquire(Quota.DELETE)
        self.directory.delete(request.identity_id)
        return Response(204)

    def _exchange(self, request: Request, _version: str) -> Response:
        requested = contract.parse_exchange(request.body)
        self.quotas.acquire(Quota.EXCHANGE)
        grant = self.teams.authorize(requested)
        token = self.signer.sign(
            grant.skype_id, ("voip",), now=self._clock(), expires=grant.expires
        )
        return Response.success(200, token.document())

    def _exchange_entra(self, request: Request, _version: str) -> Response:
        self.quotas.acquire(Quota.EXCHANGE)
        grant = self.entra_users.authorize(request.headers["Authorization"])
        skype_id = grant.identity_id.removeprefix("8:")
        now, expires = self._clock(), grant.expires
        token = self.signer.sign(skype_id, grant.scopes, now=now, expires=expires)
        identity = {"id": grant.identity_id}
        return Response.success(200, {"identity": identity, "accessToken": token.document()})

    def _exchange_teams_extension(self, request: Request, _version: str) -> Response:
        contract.parse_nothing(request.body)
        self.quotas.acquire(Quota.EXCHANGE)
        exchanged = self.teams_extension.exchange(request.headers["Authorization"])
        return Response.success(200, exchanged)

    def _put_assignment(self, request: Request, _version: str) -> Response:
        requested = contract.parse_assignment(request.body)
        self.quotas.acquire(Quota.ASSIGNMENT)
        assignment, is_new = self.teams_extension.put(request, requested)
        return Response.success(201 if is_new else 200, assignment.document())

    def _get_assignment(self, request: Request, _version: str) -> Response:
        self.quotas.acquire(Quota.ASSIGNMENT)
        return Response.success(200, self.teams_extension.require(request).document())

    def _delete_assignment(self, request: Request, _version: str) -> Response:
        self.quotas.acquire(Quota.ASSIGNMENT)
        self.teams_extension.delete(request)
        return Response(204)
