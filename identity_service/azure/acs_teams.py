"""The `TeamsAssignments` port on azure-core's pipeline: no SDK for Python has these calls."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar, get_args
from urllib.parse import urlsplit

import msgspec
from azure.core import AsyncPipelineClient
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.transport import AsyncHttpResponse
from azure.core.rest import HttpRequest

from identity_service.azure.acs_calls import (
    RETRY_ONCE,
    authentication,
    new_transport,
    policies,
    result_of,
)
from identity_service.azure.acs_errors import Subject, is_missing
from identity_service.azure.credential import Credential
from identity_service.azure.transport import not_sent_after
from identity_service.teams_access import Assignment, PrincipalType

T = TypeVar("T")

# The first version with these calls. Microsoft's client SDKs exchange tokens with this one.
API_VERSION = "2025-06-30"

_OK, _CREATED, _NO_CONTENT = HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.NO_CONTENT


class AcsTeamsAssignments:
    """Implements `ports.TeamsAssignments`."""

    def __init__(
        self, client: AsyncPipelineClient[HttpRequest, AsyncHttpResponse], endpoint: str
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self._host = urlsplit(endpoint).netloc

    @classmethod
    def connect(
        cls, endpoint: str, credential: Credential | str, proxy: str = "", *, traced: bool = False
    ) -> "AcsTeamsAssignments":
        """A client of the resource at `endpoint`. Call this inside the worker's event loop.

        Args:
            endpoint: `https://host` or `https://host:port`.
            credential: The app's credential, or an access key in base64.
            proxy: The URL of the proxy. Empty if there is none.
            traced: Whether OpenTelemetry records the requests.
        """
        client: AsyncPipelineClient[HttpRequest, AsyncHttpResponse] = AsyncPipelineClient(
            endpoint,
            transport=new_transport(proxy),
            policies=policies(authentication(credential), traced=traced),
        )
        return cls(client, endpoint)

    async def put(
        self, tenant_id: str, object_id: str, assignment: Assignment, *, not_after: datetime
    ) -> None:
        """See `ports.TeamsAssignments`."""
        body: dict[str, Any] = {"principalType": assignment.principal_type}
        if assignment.client_ids:
            body["clientIds"] = assignment.client_ids
        request = self._request("PUT", tenant_id, object_id, json=body)
        parse = partial(_assignment, tenant_id, object_id)
        with not_sent_after(not_after):
            await self._result(request, (_OK, _CREATED), parse, subject="new assignment")

    async def get(self, tenant_id: str, object_id: str) -> Assignment | None:
        """See `ports.TeamsAssignments`."""
        request = self._request("GET", tenant_id, object_id)
        return await self._result(request, (_OK,), partial(_assignment, tenant_id, object_id))

    async def delete(self, tenant_id: str, object_id: str, *, not_after: datetime) -> None:
        """See `ports.TeamsAssignments`."""
        request = self._request("DELETE", tenant_id, object_id)
        with not_sent_after(not_after):
            await self._result(request, (_NO_CONTENT,), _nothing)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _request(self, method: str, tenant_id: str, object_id: str, **body: Any) -> HttpRequest:
        path = f"/access/teamsExtension/tenants/{tenant_id}/assignments/{object_id}"
        return HttpRequest(method, f"{self._endpoint}{path}?api-version={API_VERSION}", **body)

    async def _result(
        self,
        request: HttpRequest,
        successes: tuple[int, ...],
        parse: Callable[[AsyncHttpResponse | None], T],
        subject: Subject = "assignment",
    ) -> T:
        return await result_of(self._send(request, successes), parse, self._host, subject=subject)

    async def _send(
        self, request: HttpRequest, successes: tuple[int, ...]
    ) -> AsyncHttpResponse | None:
        """The response. None if ACS says that there is no such assignment."""
        response = await self._client.send_request(request, **RETRY_ONCE)
        if response.status_code in successes:
            return response
        error = HttpResponseError(response=response)
        if request.method != "PUT" and is_missing(error):
            return None
        raise error


class _Received(msgspec.Struct, rename="camel"):
    tenant_id: str
    object_id: str
    principal_type: str
    client_ids: tuple[str, ...] | None = None


# Microsoft's article writes "user", its sample "User".
_PRINCIPAL_TYPES: dict[str, PrincipalType] = {
    name.lower(): name for name in get_args(PrincipalType)
}


def _assignment(
    tenant_id: str, object_id: str, response: AsyncHttpResponse | None
) -> Assignment | None:
    if response is None:
        return None
    received = msgspec.json.decode(response.body(), type=_Received)
    ids = (received.tenant_id.lower(), received.object_id.lower())
    if ids != (tenant_id.lower(), object_id.lower()):
        raise ValueError("the response is about another assignment")
    principal_type = _PRINCIPAL_TYPES[received.principal_type.lower()]
    return Assignment(principal_type, received.client_ids or ())


def _nothing(_: object) -> None:
    """The response has no content."""
