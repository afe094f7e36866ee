"""The app's table of contents: one trigger for each operation."""

import os

from azure.functions import AuthLevel, FunctionApp

from identity_service.http.triggers import Triggers, add_timer, add_warmup
from identity_service.operations import (
    deleted_identities,
    identities,
    me,
    registration,
    status,
    tokens,
)
from identity_service.services import Services
from identity_service.sweep import purge_deleted_identities

app = FunctionApp()
services = Services(os.environ)

# For services, which call with a function key.
service = Triggers(app, services, AuthLevel.FUNCTION)
service.post("identities", identities.create_identity)
service.post("identities/with-token", identities.create_identity_with_token)
service.get("identities", identities.list_identities)
service.get("identities/{id}", identities.get_identity)
service.put("identities/{id}", registration.register_identity)
service.post("identities/import", registration.import_identities)
service.delete("identities/{id}/registration", registration.unregister_identity)
service.post("identities/{id}/suspend", identities.suspend_identity)
service.post("identities/{id}/resume", identities.resume_identity)
service.delete("identities/{id}", identities.delete_identity)
service.post("identities/{id}/tokens", tokens.issue_token)
service.delete("identities/{id}/tokens", tokens.revoke_tokens)
service.get("deleted-identities", deleted_identities.list_deleted_identities)
service.get("deleted-identities/{id}", deleted_identities.get_deleted_identity)
service.post("deleted-identities/{id}/restore", deleted_identities.restore_identity)
service.delete("deleted-identities/{id}", deleted_identities.purge_identity)
service.post("teams/token", tokens.exchange_teams_token)
service.probe("ready", status.ready)
service.get("openapi.json", status.openapi, logged=False)

# For signed-in users, who call without a key, and for health probes.
public = Triggers(app, services, AuthLevel.ANONYMOUS)
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
