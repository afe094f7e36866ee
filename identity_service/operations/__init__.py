"""What the service can do: one file per operation.

An operation's parameters are its contract: `identity_id` comes from the address, `query` from its
query, `body` from the request; everything else the worker has, in `services.py`.
"""

from identity_service.operations.create_identity import create_identity
from identity_service.operations.create_identity_with_token import create_identity_with_token
from identity_service.operations.delete_identity import delete_identity
from identity_service.operations.exchange_teams_token import exchange_teams_token
from identity_service.operations.get_deleted_identity import get_deleted_identity
from identity_service.operations.get_identity import get_identity
from identity_service.operations.issue_token import issue_token
from identity_service.operations.list_deleted_identities import list_deleted_identities
from identity_service.operations.list_identities import list_identities
from identity_service.operations.purge_deleted_identities import purge_deleted_identities
from identity_service.operations.purge_identity import purge_identity
from identity_service.operations.ready import ready
from identity_service.operations.restore_identity import restore_identity
from identity_service.operations.revoke_tokens import revoke_tokens

__all__ = [
    "create_identity",
    "create_identity_with_token",
    "delete_identity",
    "exchange_teams_token",
    "get_deleted_identity",
    "get_identity",
    "issue_token",
    "list_deleted_identities",
    "list_identities",
    "purge_deleted_identities",
    "purge_identity",
    "ready",
    "restore_identity",
    "revoke_tokens",
]
