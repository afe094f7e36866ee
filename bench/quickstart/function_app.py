"""The quickstart: one call of ACS per token, on the SDK's defaults, and no checks."""

import json
import os

from azure.communication.identity import CommunicationUserIdentifier
from azure.communication.identity.aio import CommunicationIdentityClient
from azure.functions import FunctionApp, HttpRequest, HttpResponse
from azure.identity.aio import DefaultAzureCredential

app = FunctionApp()
client = CommunicationIdentityClient(
    os.environ["COMMUNICATION_SERVICES_ENDPOINT"], DefaultAzureCredential()
)


@app.route("identities/{id}/tokens", methods=["POST"])
async def issue_token(req: HttpRequest) -> HttpResponse:
    """Issue a token."""
    user = CommunicationUserIdentifier(req.route_params["id"])
    token = await client.get_token(user, req.get_json()["scopes"])
    body = {"token": token.token, "expiresOn": token.expires_on}
    return HttpResponse(json.dumps(body), mimetype="application/json")


@app.route("nothing", methods=["POST"])
async def nothing(req: HttpRequest) -> HttpResponse:  # noqa: ARG001 -- a trigger takes it
    """Show what the host costs without the token."""
    return HttpResponse("{}", mimetype="application/json")
