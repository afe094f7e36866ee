"""What arrives late, or never, neither undoes an answer nor locks a user out."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from azure.core.exceptions import ServiceResponseTimeoutError
from azure.core.pipeline.transport import AioHttpTransport
from azure.data.tables.aio import TableClient

from identity_service.azure.credential import Credential
from identity_service.azure.registries import TableRegistry
from identity_service.errors import RegistryUnavailable
from identity_service.identity import State
from identity_service.lifecycle import Lifecycle
from tests.support.azurite import Tenant
from tests.support.client import Control
from tests.support.memory import MemoryAcs
from tests.support.product import ShiftedClock
from tests.survival.processes import Workers
from tests.survival.records import SETTLED, MakeRow, Records, deleted, due, marked
from tests.survival.worker import Task

HOUR = timedelta(hours=1).total_seconds()


class LateTransport(AioHttpTransport):  # type: ignore[misc]  # the SDK exports it lazily
    """Holds each batch back, and reports at once that its response was lost."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        super().__init__(session=session, session_owner=False, use_env_settings=False)
        self._held: list[Any] = []

    async def send(self, request: Any, **options: Any) -> Any:
        """Send a read; keep a batch."""
        if not request.url.endswith("/$batch"):
            return await super().send(request, **options)
        self._held.append(request)
        raise ServiceResponseTimeoutError("no response")

    async def deliver(self) -> list[str]:
        """Send what was held back. Return the bodies of the responses."""
        responses = [await super(LateTransport, self).send(each) for each in self._held]
        return [(await response.read()).decode() for response in responses]


@pytest.mark.parametrize("row", [deleted, marked])
async def test_late_restore_does_not_undo_a_deletion(
    row: MakeRow, records: Records, workers: Workers, session: aiohttp.ClientSession
) -> None:
    """A restore was answered 503. A deletion after it is answered, and then the restore arrives."""
    table = await records.new_table()
    [identity_id] = await records.create_identities(1)
    await records.write(table, [row(identity_id, None)])
    transport = LateTransport(session)
    client = TableClient(
        records.tables, table, credential=Credential(Tenant()), transport=transport, retry_total=0
    )
    clock = ShiftedClock(timedelta())
    acs = MemoryAcs(clock)
    acs.identities.append(identity_id)
    restoring = Lifecycle(acs, TableRegistry(client), clock)
    with pytest.raises(RegistryUnavailable):
        await restoring.restore(identity_id)

    deletion = await workers.run(Task(operation="delete", table=table, identity_id=identity_id))
    [late] = await transport.deliver()

    assert deletion.problem is None
    assert "UpdateConditionNotSatisfied" in late
    assert (await records.snapshot(table)).rows[identity_id].state is State.DELETED


async def test_purge_without_an_end_does_not_lock_its_user_out(
    records: Records, workers: Workers, control: Control
) -> None:
    """ACS loses the response of a purge and fails for a day: the user has a new identity at once.

    When the purge is finished, the user keeps it.
    """
    table = await records.new_table()
    [old] = await records.create_identities(1)
    user_id = f"user-{uuid4()}"
    await records.write(table, [due(old, user_id)])
    await control.inject("drop", when="after", operation="delete")
    purge = await workers.run(Task(operation="purge", table=table, identity_id=old))
    await control.clear()
    await control.inject("status", status=503, operation="delete")

    created = await workers.run(Task(operation="create with token", table=table, user_id=user_id))
    for hour in range(1, 25, 6):
        await workers.run(Task(operation="sweep", table=table, ahead=hour * HOUR))
    during = await records.snapshot(table)
    await control.clear()
    await workers.run(Task(operation="sweep", table=table, ahead=24 * HOUR + SETTLED))

    assert (purge.problem, created.problem) == ("acs_unavailable", None)
    [new] = during.rows.keys() - {old}
    assert during.rows[old].state is State.PURGING
    assert set(during.user_rows.values()) == {new}
    after = await records.snapshot(table)
    assert (after.inconsistencies(), set(after.rows)) == ([], {new})
