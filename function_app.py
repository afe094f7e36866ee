"""The app's table of contents: one function per operation, each served by `identity_service`."""

import os

from azure.functions import (
    AuthLevel,
    Context,
    FunctionApp,
    HttpRequest,
    HttpResponse,
    TimerRequest,
)
from azure.functions.warmup import WarmUpContext

from identity_service import invocation, operations, web
from identity_service.services import Services

app = FunctionApp(http_auth_level=AuthLevel.FUNCTION)
services = Services(os.environ)


@app.route(route="identities", methods=["POST"])
async def create_identity(req: HttpRequest, context: Context) -> HttpResponse:
    """Create an identity."""
    return await web.serve(req, context, operations.create_identity, services)


@app.route(route="identities/with-token", methods=["POST"])
async def create_identity_with_token(req: HttpRequest, context: Context) -> HttpResponse:
    """Create an identity and its first access token."""
    return await web.serve(req, context, operations.create_identity_with_token, services)


@app.route(route="identities/{id}/tokens", methods=["POST"])
async def issue_token(req: HttpRequest, context: Context) -> HttpResponse:
    """Issue an access token; this is also how one is refreshed."""
    return await web.serve(req, context, operations.issue_token, services)


@app.route(route="identities/{id}/tokens", methods=["DELETE"])
async def revoke_tokens(req: HttpRequest, context: Context) -> HttpResponse:
    """Revoke every access token of an identity."""
    return await web.serve(req, context, operations.revoke_tokens, services)


@app.route(route="identities/{id}", methods=["DELETE"])
async def delete_identity(req: HttpRequest, context: Context) -> HttpResponse:
    """Delete an identity, so that it can be restored until it is purged."""
    return await web.serve(req, context, operations.delete_identity, services)


@app.route(route="identities", methods=["GET"])
async def list_identities(req: HttpRequest, context: Context) -> HttpResponse:
    """List the active identities, or a user's."""
    return await web.serve(req, context, operations.list_identities, services)


@app.route(route="identities/{id}", methods=["GET"])
async def get_identity(req: HttpRequest, context: Context) -> HttpResponse:
    """Get an active identity."""
    return await web.serve(req, context, operations.get_identity, services)


@app.route(route="deleted-identities", methods=["GET"])
async def list_deleted_identities(req: HttpRequest, context: Context) -> HttpResponse:
    """List the deleted identities in the order of their purge."""
    return await web.serve(req, context, operations.list_deleted_identities, services)


@app.route(route="deleted-identities/{id}", methods=["GET"])
async def get_deleted_identity(req: HttpRequest, context: Context) -> HttpResponse:
    """Get a deleted identity."""
    return await web.serve(req, context, operations.get_deleted_identity, services)


@app.route(route="deleted-identities/{id}/restore", methods=["POST"])
async def restore_identity(req: HttpRequest, context: Context) -> HttpResponse:
    """Restore a deleted identity."""
    return await web.serve(req, context, operations.restore_identity, services)


@app.route(route="deleted-identities/{id}", methods=["DELETE"])
async def purge_identity(req: HttpRequest, context: Context) -> HttpResponse:
    """Purge a deleted identity ahead of time."""
    return await web.serve(req, context, operations.purge_identity, services)


@app.route(route="teams/token", methods=["POST"])
async def exchange_teams_token(req: HttpRequest, context: Context) -> HttpResponse:
    """Exchange a Teams user's Entra token for an access token."""
    return await web.serve(req, context, operations.exchange_teams_token, services)


@app.route(route="me", methods=["GET"], auth_level=AuthLevel.ANONYMOUS)
async def get_me(req: HttpRequest, context: Context) -> HttpResponse:
    """Tell a signed-in user what is held about them."""
    return await web.serve(req, context, operations.get_me, services)


@app.route(route="me/tokens", methods=["POST"], auth_level=AuthLevel.ANONYMOUS)
async def issue_my_token(req: HttpRequest, context: Context) -> HttpResponse:
    """Give a signed-in user an access token of their own."""
    return await web.serve(req, context, operations.issue_my_token, services)


@app.route(route="me/tokens", methods=["DELETE"], auth_level=AuthLevel.ANONYMOUS)
async def revoke_my_tokens(req: HttpRequest, context: Context) -> HttpResponse:
    """Sign a user out everywhere."""
    return await web.serve(req, context, operations.revoke_my_tokens, services)


@app.route(route="me", methods=["DELETE"], auth_level=AuthLevel.ANONYMOUS)
async def delete_me(req: HttpRequest, context: Context) -> HttpResponse:
    """Delete a signed-in user's identity, so that it can be restored until it is purged."""
    return await web.serve(req, context, operations.delete_me, services)


@app.route(route="me/restore", methods=["POST"], auth_level=AuthLevel.ANONYMOUS)
async def restore_me(req: HttpRequest, context: Context) -> HttpResponse:
    """Restore a signed-in user's deleted identity."""
    return await web.serve(req, context, operations.restore_me, services)


@app.route(route="me/teams-token", methods=["POST"], auth_level=AuthLevel.ANONYMOUS)
async def exchange_my_teams_token(req: HttpRequest, context: Context) -> HttpResponse:
    """Exchange a signed-in Teams user's Entra token for an access token."""
    return await web.serve(req, context, operations.exchange_my_teams_token, services)


@app.route(route="health", methods=["GET"], auth_level=AuthLevel.ANONYMOUS)
async def health(req: HttpRequest) -> HttpResponse:  # noqa: ARG001 -- a trigger takes it
    """Whether the app is configured."""
    return web.health(services.connect)


@app.route(route="ready", methods=["GET"])
async def ready(req: HttpRequest, context: Context) -> HttpResponse:
    """Whether ACS and the registry answer, and how late the sweep is."""
    return await web.serve(req, context, operations.ready, services)


@app.route(route="openapi.json", methods=["GET"])
async def openapi(req: HttpRequest) -> HttpResponse:  # noqa: ARG001 -- a trigger takes it
    """The OpenAPI document of all this."""
    return web.document()


@app.timer_trigger(schedule="%CLEANUP_SCHEDULE%", arg_name="timer", run_on_startup=False)
async def purge_deleted_identities(timer: TimerRequest, context: Context) -> None:  # noqa: ARG001 -- a trigger takes it
    """Finish whatever is due: revocations, purges, creations that were cut short."""
    invocation.begin(context.invocation_id)
    await operations.purge_deleted_identities(
        services.acs, services.registry, services.clock, services.cleanup
    )


@app.warm_up_trigger("warmup")
async def warmup(warmup: WarmUpContext) -> None:  # noqa: ARG001 -- a trigger takes it
    """Make the clients and fetch their tokens ahead of the first request."""
    await services.warm_up()
