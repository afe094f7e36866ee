"""What the service can do: one file per operation.

An operation's parameters are its contract: `caller` is who is signed in, `identity_id` comes from
the address, `query` from its query, `body` from the request; everything else the worker has, in
`services.py`.
"""

from identity_service.operations.create_identity import create_identity
from identity_service.operations.create_identity_with_token import create_identity_with_token
from identity_service.operations.delete_identity import delete_identity
from identity_service.operations.delete_me import delete_me
from identity_service.operations.exchange_my_teams_token import exchange_my_teams_token
from identity_service.operations.exchange_teams_token import exchange_teams_token
from identity_service.operations.get_deleted_identity import get_deleted_identity
from identity_service.operations.get_identity import get_identity
from identity_service.operations.get_me import get_me
from identity_service.operations.issue_my_token import issue_my_token
from identity_service.operations.issue_token import issue_token
from identity_service.operations.list_deleted_identities import list_deleted_identities
from identity_service.operations.list_identities import list_identities
from identity_service.operations.purge_deleted_identities import purge_deleted_identities
from identity_service.operations.purge_identity import purge_identity
from identity_service.operations.ready import ready
from identity_service.operations.restore_identity import restore_identity
from identity_service.operations.restore_me import restore_me
from identity_service.operations.revoke_my_tokens import revoke_my_tokens
from identity_service.operations.revoke_tokens import revoke_tokens

__all__ = [
    "create_identity",
    "create_identity_with_token",
    "delete_identity",
    "delete_me",
    "exchange_my_teams_token",
    "exchange_teams_token",
    "get_deleted_identity",
    "get_identity",
    "get_me",
    "issue_my_token",
    "issue_token",
    "list_deleted_identities",
    "list_identities",
    "purge_deleted_identities",
    "purge_identity",
    "ready",
    "restore_identity",
    "restore_me",
    "revoke_my_tokens",
    "revoke_tokens",
]
