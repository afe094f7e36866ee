"""Operations on Teams Phone access: who may use the ACS resource with their own Entra sign-in."""

from identity_service.access_lifecycle import TeamsAccess
from identity_service.errors import InvalidGuid, ServiceError
from identity_service.identity import Page
from identity_service.limits import Verifications
from identity_service.log import EventLog
from identity_service.operations.imports import Admit, Import
from identity_service.ports import AccessRegistry, Clock
from identity_service.schemas import (
    AssignTeamsAccessRequest,
    GetTeamsAccessQuery,
    ImportTeamsAccessRecordRequest,
    ImportTeamsAccessRequest,
    ListTeamsAccessQuery,
    TeamsAccessAssignedResponse,
    TeamsAccessImportResponse,
    TeamsAccessImportResult,
    TeamsAccessResponse,
    checked_guid,
    future,
    parsed_instant,
)

events = EventLog(__name__)


async def assign_teams_access(
    tenant_id: str,
    object_id: str,
    body: AssignTeamsAccessRequest,
    teams_access: TeamsAccess,
    clock: Clock,
) -> TeamsAccessAssignedResponse | TeamsAccessResponse:
    """Give a Teams user or a resource account access, or replace what they have.

    Raises:
        AssignmentRefused: ACS does not accept the tenant, the object or a client.
        TeamsAccessChanged: another request changed the access at the same time.
        IdentityBusy: other requests are changing the access. Retry the request.
    """
    expires_on = future(body.expires_on, clock.now())
    access, is_new = await teams_access.assign(tenant_id, object_id, body.assignment, expires_on)
    response = TeamsAccessAssignedResponse if is_new else TeamsAccessResponse
    return response.of(access)


async def get_teams_access(
    tenant_id: str, object_id: str, query: GetTeamsAccessQuery, teams_access: TeamsAccess
) -> TeamsAccessResponse:
    """Get the access of a Teams user or a resource account. `verify` compares it with ACS.

    Raises:
        TeamsAccessNotFound: the registry has none, or it is being removed.
    """
    if not query.verify:
        return TeamsAccessResponse.of(await teams_access.get(tenant_id, object_id))
    return TeamsAccessResponse.verified(*await teams_access.verify(tenant_id, object_id))


async def remove_teams_access(tenant_id: str, object_id: str, teams_access: TeamsAccess) -> None:
    """Remove access, also what was assigned without this app. ACS revokes the tokens.

    Raises:
        TeamsAccessChanged: another request assigned access at the same time.
        IdentityBusy: other requests are changing the access. Retry the request.
    """
    await teams_access.remove(tenant_id, object_id)


async def list_teams_access(
    query: ListTeamsAccessQuery, access_registry: AccessRegistry
) -> Page[TeamsAccessResponse]:
    """List who has access: everyone, those of one tenant, or access in one state."""
    page = await access_registry.list(query.tenant, query.states, query.after, query.max_page_size)
    return Page([TeamsAccessResponse.of(access) for access in page.items], page.continuation)


async def import_teams_access(
    body: ImportTeamsAccessRequest,
    teams_access: TeamsAccess,
    verifications: Verifications,
    clock: Clock,
) -> TeamsAccessImportResponse:
    """Take over up to 100 assignments that ACS has. Each has its own result. Safe to repeat."""

    async def take_over(record: ImportTeamsAccessRecordRequest, admit: Admit) -> str:
        tenant_id = checked_guid(record.tenant_id, "tenantId")
        object_id = checked_guid(record.object_id, "objectId")
        expires_on = future(parsed_instant(record.expires_on), clock.now())
        await admit()
        _, is_new = await teams_access.take_over(tenant_id, object_id, expires_on)
        return "imported" if is_new else "unchanged"

    results = await Import(verifications, take_over, _about, _result).run(body.access)
    return TeamsAccessImportResponse(results=results)


def _about(record: ImportTeamsAccessRecordRequest) -> list[object]:
    return [(record.tenant_id.lower(), record.object_id.lower())]


def _result(
    record: ImportTeamsAccessRecordRequest, outcome: str | ServiceError
) -> TeamsAccessImportResult:
    if isinstance(outcome, str):
        return TeamsAccessImportResult(
            tenant_id=record.tenant_id, object_id=record.object_id, result=outcome
        )
    if not isinstance(outcome, InvalidGuid):  # other text is not logged
        events.info(
            "teams_access_import_refused",
            tenant_id=record.tenant_id.lower(),
            object_id=record.object_id.lower(),
            code=outcome.code,
        )
    return TeamsAccessImportResult(
        tenant_id=record.tenant_id,
        object_id=record.object_id,
        result=outcome.code,
        detail=outcome.detail,
        field=outcome.field,
    )
