"""Operations that take in identities created elsewhere: register, import, unregister."""

from identity_service.errors import ServiceError
from identity_service.identity import identity_id as checked_id
from identity_service.identity import is_identity_id
from identity_service.lifecycle import Lifecycle
from identity_service.limits import Verifications
from identity_service.log import EventLog
from identity_service.operations.imports import Admit, Import
from identity_service.schemas import (
    IdentityRegisteredResponse,
    IdentityResponse,
    ImportIdentitiesRequest,
    ImportRecordRequest,
    ImportResponse,
    ImportResult,
    RegisterIdentityRequest,
    UnregisterIdentityQuery,
    check_user_id,
)

events = EventLog(__name__)


async def register_identity(
    identity_id: str,
    body: RegisterIdentityRequest,
    lifecycle: Lifecycle,
    verifications: Verifications,
) -> IdentityRegisteredResponse | IdentityResponse:
    """Register an identity that was created elsewhere. Repeating the call changes nothing.

    Raises:
        IdentityNotFound: ACS has no such identity in this resource, or it is being purged.
        UserHasIdentity: the user has another identity.
        UserMismatch: it is registered for another user, or for none: unregister it first.
        IdentityDeleted: it is deleted.
        IdentitySuspended: it is suspended.
        IdentityBusy: it is being created, or other requests are changing it.
    """
    identity, is_new = await lifecycle.register(identity_id, body.user_id, verifications.acquire)
    response = IdentityRegisteredResponse if is_new else IdentityResponse
    return response.of(identity)


async def import_identities(
    body: ImportIdentitiesRequest, lifecycle: Lifecycle, verifications: Verifications
) -> ImportResponse:
    """Register up to 100 identities. Each has its own result, and repeating the call is safe."""

    async def register(record: ImportRecordRequest, admit: Admit) -> str:
        check_user_id(record.user_id)
        identity_id = checked_id(record.id)
        _, is_new = await lifecycle.register(identity_id, record.user_id, admit)
        return "registered" if is_new else "unchanged"

    results = await Import(verifications, register, _about, _result).run(body.identities)
    return ImportResponse(results=results)


async def unregister_identity(
    identity_id: str, query: UnregisterIdentityQuery, lifecycle: Lifecycle
) -> None:
    """Forget an active identity. ACS keeps it, and its tokens stay valid.

    Raises:
        IdentityNotFound: the registry has no such identity.
        UserMismatch: it does not belong to the user in the query.
        IdentityDeleted: it is deleted: restore it first.
        IdentitySuspended: it is suspended: resume it first.
        IdentityBusy: it is being created, or other requests are changing it.
    """
    await lifecycle.unregister(identity_id, query.expected_user)


def _about(record: ImportRecordRequest) -> list[object]:
    user = [("user", record.user_id)] if record.user_id else []
    return [("id", record.id), *user]


def _result(record: ImportRecordRequest, outcome: str | ServiceError) -> ImportResult:
    if isinstance(outcome, str):
        return ImportResult(id=record.id, result=outcome)
    if is_identity_id(record.id):  # other text is not logged
        events.info("registration_refused", identity_id=record.id, code=outcome.code)
    return ImportResult.refused(record.id, outcome)
