"""The records of the registry and of ACS: written in bulk, read in full, compared."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import aiohttp
from azure.core.pipeline.transport import AioHttpTransport
from azure.data.tables.aio import TableServiceClient

from identity_service.azure.credential import Credential
from identity_service.azure.table_codec import (
    Change,
    decode_due_entry,
    decode_identity,
    encode_user,
    user_key,
)
from identity_service.identity import LEASE, YOUNG, Actor, DueEntry, Identity, State
from local.entra import ACS_AUDIENCE
from tests.support.azurite import Tenant
from tests.support.client import Control
from tests.support.product import batches
from tests.support.stack import Azure

# Seconds after which all leases have expired and ACS's "not found" is believed of any identity.
SETTLED = (YOUNG + 2 * LEASE).total_seconds()
AT_ONCE = 4
AGE = timedelta(days=30)
DAY = timedelta(days=1)

# Returns the row of an identity and, if given, its user.
MakeRow = Callable[[str, str | None], Identity]


def active(identity_id: str, user_id: str | None = None) -> Identity:
    """Return the row of an active identity that was created 30 days ago."""
    created_on = datetime.now(UTC) - AGE
    return Identity(id=identity_id, state=State.ACTIVE, user_id=user_id, created_on=created_on)


def deleted(identity_id: str, user_id: str | None = None, *, ago: timedelta = DAY) -> Identity:
    """Return the row of an identity that was deleted `ago`, with seven days of retention."""
    return marked(identity_id, user_id, ago=ago).record_revocation()


def due(identity_id: str, user_id: str | None = None) -> Identity:
    """Return the row of a deleted identity whose retention has ended."""
    return deleted(identity_id, user_id, ago=timedelta(days=8))


def creating(identity_id: str, user_id: str | None = None) -> Identity:
    """Return the row of an identity whose creation was interrupted."""
    return Identity.create(identity_id, user_id, datetime.now(UTC) - AGE)


def marked(identity_id: str, user_id: str | None = None, *, ago: timedelta = DAY) -> Identity:
    """Return the row of an identity whose deletion was interrupted before the revocation."""
    return active(identity_id, user_id).delete(
        datetime.now(UTC) - ago, timedelta(days=7), Actor.SERVICE
    )


def purging(identity_id: str, user_id: str | None = None) -> Identity:
    """Return the row of an identity whose purge was interrupted."""
    return due(identity_id, user_id).start_purge(datetime.now(UTC))


def made_up_id() -> str:
    """Return the id of an identity that ACS does not have."""
    return f"8:acs:{uuid4()}_{uuid4()}"


@dataclass(frozen=True)
class Snapshot:
    """The registry and ACS at one moment.

    Attributes:
        alive: The identities in ACS, with the number of their valid tokens.
        rows: The identity rows by id.
        due: The due entries.
        user_rows: The identity that each user row names, by the user row's key.
    """

    alive: dict[str, int]
    rows: dict[str, Identity]
    due: set[DueEntry]
    user_rows: dict[str, str]

    @property
    def orphans(self) -> set[str]:
        """The identities in ACS that have no row."""
        return self.alive.keys() - self.rows.keys()

    @property
    def dangling(self) -> set[str]:
        """The identities without a row that a user row names. Such a user row counts as absent."""
        return set(self.user_rows.values()) - self.rows.keys()

    def inconsistencies(self) -> list[str]:
        """Return the differences between registry and ACS, and between the registry's rows.

        Orphans and dangling user rows are not included.
        """
        return [*self._unfinished(), *self._phantoms(), *self._due_entries(), *self._user_rows()]

    def _unfinished(self) -> Iterator[str]:
        for row in self.rows.values():
            if row.state is State.DELETED:
                if not row.revoked or self.alive.get(row.id):
                    yield f"deleted and not revoked: {row}"
            elif row.state is not State.ACTIVE:
                yield f"unfinished: {row}"

    def _phantoms(self) -> Iterator[str]:
        for name in self.rows.keys() - self.alive.keys():
            yield f"not in ACS: {self.rows[name]}"

    def _due_entries(self) -> Iterator[str]:
        expected = {row.due_entry for row in self.rows.values() if row.due_entry}
        for entry in expected ^ self.due:
            yield f"due entry without a row, or a row without its due entry: {entry}"

    def _user_rows(self) -> Iterator[str]:
        owned = {user_key(row.user_id): row.id for row in self.rows.values() if row.user_id}
        for key in owned.keys() | self.user_rows.keys():
            named = self.user_rows.get(key)
            if owned.get(key) != named and named not in self.dangling:
                yield f"user row {named}, identity row {owned.get(key)}"


class Records:
    """The emulator's identities, and the tables of one storage account.

    The session must trust both.

    Attributes:
        tables: The address of the table service.
    """

    def __init__(
        self, azure: Azure, session: aiohttp.ClientSession, control: Control, tables: str
    ) -> None:
        self._azure = azure
        self._session = session
        self._control = control
        self.tables = tables
        self._service = TableServiceClient(
            tables,
            credential=Credential(Tenant()),
            transport=AioHttpTransport(
                session=session, session_owner=False, use_env_settings=False
            ),
            retry_total=0,
        )

    async def new_table(self) -> str:
        """Create a table and return its name."""
        name = f"t{uuid4().hex}"
        await self._service.create_table(name)
        return name

    async def create_identities(self, number: int, *, with_token: bool = False) -> list[str]:
        """Create identities in ACS, each with a token if `with_token`; return their ids."""
        headers = {"Authorization": f"Bearer {await self._token()}"}
        url = f"{self._azure.env['ACS_ENDPOINT']}/identities?api-version=2023-10-01"
        body = {"createTokenWithScopes": ["chat"] if with_token else []}
        slots = asyncio.Semaphore(4 * AT_ONCE)

        async def create() -> str:
            async with (
                slots,
                self._session.post(url, headers=headers, json=body) as response,
            ):
                made = await response.json()
            return str(made["identity"]["id"])

        return list(await asyncio.gather(*(create() for _ in range(number))))

    async def _token(self) -> str:
        async with self._session.get(
            self._azure.env["IDENTITY_ENDPOINT"],
            params={"resource": ACS_AUDIENCE, "api-version": "2019-08-01"},
            headers={"X-IDENTITY-HEADER": self._azure.env["IDENTITY_HEADER"]},
        ) as response:
            return str((await response.json())["access_token"])

    async def write(self, table: str, rows: Iterable[Identity]) -> None:
        """Write identity rows with their due entries and user rows, in batches."""
        slots = asyncio.Semaphore(AT_ONCE)

        async def send(batch: list[Change]) -> None:
            async with slots:
                await client.submit_transaction(batch)

        client = self._service.get_table_client(table)
        await asyncio.gather(*map(send, batches(rows)))

    async def write_user_row(self, table: str, user_id: str, identity_id: str) -> None:
        """Write a user row without an identity row."""
        await self._service.get_table_client(table).create_entity(encode_user(user_id, identity_id))

    async def snapshot(self, *tables: str) -> Snapshot:
        """Read everything in ACS and in these tables."""
        response = await self._control.ask("GET", "identities")
        snapshot = Snapshot(
            alive={
                one["id"]: one["tokensAlive"]
                for one in response["identities"]
                if one["state"] == "active"
            },
            rows={},
            due=set(),
            user_rows={},
        )
        for name in tables:
            async for entity in self._service.get_table_client(name).list_entities():
                _add(snapshot, entity)
        return snapshot


def _add(snapshot: Snapshot, entity: Any) -> None:
    key = entity["RowKey"]
    match key[0]:
        case "i":
            row = decode_identity(entity, str(entity.metadata["etag"]))
            snapshot.rows[row.id] = row
        case "t" | "p":
            snapshot.due.add(decode_due_entry(key))
        case "u":
            snapshot.user_rows[key] = entity["identityId"]
