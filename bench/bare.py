"""The bare SDKs as contenders: the calls that the app makes, written down as plainly as can be."""

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any

from azure.communication.identity import CommunicationUserIdentifier
from azure.communication.identity.aio import CommunicationIdentityClient
from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient
from azure.identity.aio import DefaultAzureCredential

TABLE = "bench"
LEASE = timedelta(seconds=60)
RETENTION = timedelta(days=7)


class Bare:
    """Microsoft's two clients with the options given, on the app's own kind of credential."""

    def __init__(self, **options: Any) -> None:
        credential = DefaultAzureCredential(**options)
        self._acs = CommunicationIdentityClient(
            os.environ["COMMUNICATION_SERVICES_ENDPOINT"], credential, **options
        )
        address = os.environ["AzureWebJobsStorage__tableServiceUri"]  # noqa: SIM112 -- Azure's spelling
        self._table = TableClient(address, TABLE, credential=credential, **options)
        self._identities: Iterator[str] = iter(())

    async def prepare(self, identities: list[str]) -> None:
        """Let it work on these from now on."""
        self._identities = cycle(identities)
        try:
            await self._table.create_table()
        except ResourceExistsError:
            return
        for identity_id in identities:
            await self._table.create_entity(_row(identity_id, state="active"))

    async def issue(self) -> None:
        """A token for the next identity."""
        await self._acs.get_token(CommunicationUserIdentifier(next(self._identities)), ["voip"])

    async def issue_and_read(self) -> None:
        """The same, and its row."""
        identity_id = next(self._identities)
        await self._acs.get_token(CommunicationUserIdentifier(identity_id), ["voip"])
        await self._table.get_entity(_partition(identity_id), f"i|{identity_id}")

    async def create(self) -> str:
        """A new identity, recorded as unfinished and then as active; its id."""
        user = await self._acs.create_user()
        identity_id = str(user.properties["id"])
        now = datetime.now(UTC)
        row = _row(identity_id, state="creating", createdOn=_text(now), due=_text(now + LEASE))
        agenda = _agenda(identity_id, now + LEASE)
        changed = await self._table.submit_transaction([("create", row), ("create", agenda)])
        active = _row(identity_id, state="active", createdOn=_text(now))
        await self._table.submit_transaction(
            [("update", active, _version(changed[0])), ("delete", agenda)]
        )
        return identity_id

    async def delete(self, identity_id: str) -> None:
        """Read, mark as deleted, revoke, record the revocation."""
        read = await self._table.get_entity(_partition(identity_id), f"i|{identity_id}")
        now = datetime.now(UTC)
        mark = {"deletedOn": _text(now), "scheduledPurgeOn": _text(now + RETENTION)}
        soon, later = _agenda(identity_id, now + LEASE), _agenda(identity_id, now + RETENTION)
        row = _row(identity_id, state="deleted", due=_text(now + LEASE), **mark)
        changed = await self._table.submit_transaction(
            [("update", row, _version(read.metadata)), ("create", soon)]
        )
        await self._acs.revoke_tokens(CommunicationUserIdentifier(identity_id))
        row = {**row, "revoked": True, "due": mark["scheduledPurgeOn"]}
        await self._table.submit_transaction(
            [("update", row, _version(changed[0])), ("delete", soon), ("create", later)]
        )


def _row(identity_id: str, **columns: str) -> dict[str, Any]:
    return {"PartitionKey": _partition(identity_id), "RowKey": f"i|{identity_id}", **columns}


def _agenda(identity_id: str, due: datetime) -> dict[str, Any]:
    key = f"t|{_text(due)}|{identity_id}"
    return {"PartitionKey": _partition(identity_id), "RowKey": key}


def _partition(identity_id: str) -> str:
    return f"{int(hashlib.sha256(identity_id.encode()).hexdigest()[0], 16):02d}"


def _version(answer: Any) -> dict[str, Any]:
    return {
        "mode": UpdateMode.REPLACE,
        "etag": answer["etag"],
        "match_condition": MatchConditions.IfNotModified,
    }


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
