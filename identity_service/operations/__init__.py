"""What the service can do: one file per operation.

An operation's parameters are its contract: `identity_id` comes from the address, `body` from the
request, everything else is one of the ports in `ports.py`.
"""

from identity_service.operations.create_identity import create_identity
from identity_service.operations.create_identity_with_token import create_identity_with_token
from identity_service.operations.delete_identity import delete_identity
from identity_service.operations.exchange_teams_token import exchange_teams_token
from identity_service.operations.issue_token import issue_token
from identity_service.operations.revoke_tokens import revoke_tokens

__all__ = [
    "create_identity",
    "create_identity_with_token",
    "delete_identity",
    "exchange_teams_token",
    "issue_token",
    "revoke_tokens",
]
