"""The service itself, without a connection: a call goes in, an answer comes out."""

from local.acs import contract
from local.acs.authentication import Authenticator
from local.acs.directory import Identity
from local.acs.errors import RefusedError
from local.acs.messages import Answer, Call, Operation
from local.acs.quotas import Quota
from local.acs.resource import Resource
from local.acs.teams import Teams
from local.acs.tokens import AccessToken


class Service:
    """The five operations. Every call is authenticated, validated, counted, and then done."""

    def __init__(self, resource: Resource, authenticator: Authenticator, teams: Teams) -> None:
        self._authenticator = authenticator
        self._teams = teams
        self._directory = resource.directory
        self._signer = resource.signer
        self._quotas = resource.quotas
        self._ledger = resource.ledger
        self._clock = resource.clock
        self._operations = {
            Operation.CREATE: self._create,
            Operation.ISSUE: self._issue,
            Operation.REVOKE: self._revoke,
            Operation.DELETE: self._delete,
            Operation.EXCHANGE: self._exchange,
        }

    def answer(self, call: Call) -> Answer:
        """Do what the call asks for, or say why not."""
        try:
            self._authenticator.authenticate(call)
            version = contract.check_version(call.api_version, call.operation)
            answer = self._operations[call.operation](call, version)
        except RefusedError as refused:
            return refused.answer()
        self._ledger.took_effect(call.operation)
        return answer

    def _create(self, call: Call, version: str) -> Answer:
        wanted = contract.parse_create(call.body, version)
        self._quotas.take(Quota.CREATE_WITH_TOKEN if wanted.scopes else Quota.CREATE)
        identity = self._directory.create()
        created: dict[str, dict[str, str]] = {"identity": {"id": identity.id}}
        if wanted.scopes:
            created["accessToken"] = self._token(identity, wanted).document()
        return Answer.success(201, created)

    def _issue(self, call: Call, version: str) -> Answer:
        wanted = contract.parse_issue(call.body, version)
        self._quotas.take(Quota.ISSUE)
        identity = self._directory.require(call.identity_id)
        return Answer.success(200, self._token(identity, wanted).document())

    def _revoke(self, call: Call, _version: str) -> Answer:
        self._quotas.take(Quota.REVOKE)
        self._directory.revoke(call.identity_id)
        return Answer(204)

    def _delete(self, call: Call, _version: str) -> Answer:
        self._quotas.take(Quota.DELETE)
        self._directory.delete(call.identity_id)
        return Answer(204)

    def _exchange(self, call: Call, _version: str) -> Answer:
        wanted = contract.parse_exchange(call.body)
        self._quotas.take(Quota.EXCHANGE)
        grant = self._teams.grant(wanted)
        now = self._clock()
        token = self._signer.issue(grant.skype_id, ("voip",), now=now, expires=grant.expires)
        return Answer.success(200, token.document())

    def _token(self, identity: Identity, wanted: contract.TokenRequest) -> AccessToken:
        now = self._clock()
        expires = now + wanted.minutes * 60
        token = self._signer.issue(identity.skype_id, wanted.scopes, now=now, expires=expires)
        self._directory.remember(identity, token)
        return token
