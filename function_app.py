"""The app's table of contents: one trigger for each operation."""

import os

from azure.functions import FunctionApp

from identity_service.http.triggers import Triggers, add_timer, add_warmup
from identity_service.operations import (
    deleted_identities,
    identities,
    me,
    registration,
    status,
    teams_access,
    tokens,
)
from identity_service.policies import Role
from identity_service.services import Services
from identity_service.sweep import purge_deleted_identities

app = FunctionApp()
services = Services(os.environ)

# For services, which call with a function key, or with an Entra token that has these app roles.
READ, MANAGE, PURGE, ISSUE, TEAMS = Role.READ, Role.MANAGE, Role.PURGE, Role.ISSUE, Role.TEAMS
service = Triggers(app, services, for_services=True)
service.post("identities", identities.create_identity, MANAGE)
service.post("identities/with-token", identities.create_identity_with_token, MANAGE, ISSUE)
service.get("identities", identities.list_identities, READ)
service.get("identities/{id}", identities.get_identity, READ)
service.put("identities/{id}", registration.register_identity, MANAGE)
service.post("identities/import", registration.import_identities, MANAGE)
service.delete("identities/{id}/registration", registration.unregister_identity, MANAGE)
service.post("identities/{id}/suspend", identities.suspend_identity, MANAGE)
service.post("identities/{id}/resume", identities.resume_identity, MANAGE)
service.delete("identities/{id}", identities.delete_identity, MANAGE)
service.post("identities/{id}/tokens", tokens.issue_token, ISSUE)
service.delete("identities/{id}/tokens", tokens.revoke_tokens, MANAGE)
service.get("deleted-identities", deleted_identities.list_deleted_identities, READ)
service.get("deleted-identities/{id}", deleted_identities.get_deleted_identity, READ)
service.post("deleted-identities/{id}/restore", deleted_identities.restore_identity, MANAGE)
service.delete("deleted-identities/{id}", deleted_identities.purge_identity, PURGE)
service.post("teams/token", tokens.exchange_teams_token, ISSUE)
service.get("teams/access", teams_access.list_teams_access, TEAMS)
service.post("teams/access/import", teams_access.import_teams_access, TEAMS)
service.get("teams/access/{tenantId}/{objectId}", teams_access.get_teams_access, TEAMS)
service.put("teams/access/{tenantId}/{objectId}", teams_access.assign_teams_access, TEAMS)
service.delete("teams/access/{tenantId}/{objectId}", teams_access.remove_teams_access, TEAMS)
service.probe("ready", status.ready, READ)
service.get("openapi.json", status.openapi, READ, logged=False)

# For signed-in users, who call without a key, and for health probes.
public = Triggers(app, services, for_services=False)
public.get("me", me.get_me)
public.delete("me", me.delete_me)
public.post("me/tokens", me.issue_my_token)
public.delete("me/tokens", me.revoke_my_tokens)
public.post("me/restore", me.restore_me)
public.post("me/teams-token", me.exchange_my_teams_token)
public.probe("health", status.health, logged=False)

# For the host.
add_timer(app, services, "%CLEANUP_SCHEDULE%", purge_deleted_identities)
add_warmup(app, services)
