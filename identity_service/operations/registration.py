"""Operations that take in identities created elsewhere: register, import, unregister."""

import asyncio

from identity_service.errors import AcsTooSlow, InternalError, ServiceError, Throttled
from identity_service.identity import identity_id as checked_id
from identity_service.identity import is_identity_id
from identity_service.lifecycle import Lifecycle
from identity_service.limits import Verifications
from identity_service.log import EventLog
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

# Seconds after which an import starts no new record, and after which it stops waiting. The caller's
# deadline is later.
START_UNTIL = 6.0
WAIT_UNTIL = 8.0
# How many records of one import are registered at the same time.
CONCURRENCY = 8

_importing: set[asyncio.Task[ImportResult]] = set()


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
    batch = _Import(lifecycle, verifications)
    return ImportResponse(results=await batch.run(body.identities))


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


class _Import:
    """One import. Records about the same identity or user are registered in their order."""

    def __init__(self, lifecycle: Lifecycle, verifications: Verifications) -> None:
        self._lifecycle = lifecycle
        self._verifications = verifications
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()

    async def run(self, records: list[ImportRecordRequest]) -> list[ImportResult]:
        """The results in the order of the records."""
        last: dict[tuple[str, str], asyncio.Task[ImportResult]] = {}
        tasks = []
        for record in records:
            about = [("id", record.id), *([("user", record.user_id)] if record.user_id else [])]
            earlier = {last[key] for key in about if key in last}
            task = asyncio.create_task(self._register(record, earlier))
            _importing.add(task)  # it goes on after the response
            task.add_done_callback(_importing.discard)
            last.update(dict.fromkeys(about, task))
            tasks.append(task)
        await asyncio.wait(tasks, timeout=self._started + WAIT_UNTIL - self._loop.time())
        return [
            task.result() if task.done() else _too_slow(record)
            for task, record in zip(tasks, records, strict=True)
        ]

    async def _register(
        self, record: ImportRecordRequest, earlier: set[asyncio.Task[ImportResult]]
    ) -> ImportResult:
        try:
            async with asyncio.timeout_at(self._started + START_UNTIL):
                if earlier:
                    await asyncio.wait(earlier)
                await self._slots.acquire()
        except TimeoutError:
            return ImportResult(id=record.id, result="not_attempted")
        try:
            check_user_id(record.user_id)
            identity_id = checked_id(record.id)
            _, is_new = await self._lifecycle.register(identity_id, record.user_id, self._admit)
        except _TimeIsUp:
            return ImportResult(id=record.id, result="not_attempted")
        except ServiceError as error:
            if is_identity_id(record.id):  # other text is not logged
                events.info("registration_refused", identity_id=record.id, code=error.code)
            return ImportResult.refused(record.id, error)
        except Exception as error:  # noqa: BLE001 -- a bug in one record must not end the import
            events.error("internal_error", error)
            return ImportResult.refused(record.id, InternalError("See the log."))
        finally:
            self._slots.release()
        return ImportResult(id=record.id, result="registered" if is_new else "unchanged")

    async def _admit(self) -> None:
        left = self._started + START_UNTIL - self._loop.time()
        try:
            await self._verifications.acquire(left)
        except Throttled as error:
            raise _TimeIsUp from error


class _TimeIsUp(Exception):
    """A record was not reached. Nothing has been written for it."""


def _too_slow(record: ImportRecordRequest) -> ImportResult:
    late = AcsTooSlow("The registration may still complete. Repeat it.")
    return ImportResult.refused(record.id, late)
