"""What stands in the registry and in ACS: written in bulk, read in full, compared."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import aiohttp
from azure.core.pipeline.transport import AioHttpTransport
from azure.data.tables.aio import TableServiceClient

from identity_service.credential import Credential
from identity_service.entities import (
    Change,
    agenda_change,
    agenda_row,
    identity_entity,
    identity_row,
    partition,
    user_entity,
    user_key,
)
from identity_service.rows import AgendaRow, IdentityRow, State
from local.entra import ACS_AUDIENCE
from tests.support.azurite import CONNECTION, Tenant
from tests.support.client import Control
from tests.support.stack import Azure

BATCH = 100
AT_ONCE = 4
LONG_AGO = timedelta(days=30)
DAY = timedelta(days=1)


def active(identity_id: str, user_id: str | None = None) -> IdentityRow:
    """The row of an active identity, made long ago."""
    made = datetime.now(UTC) - LONG_AGO
    return IdentityRow(id=identity_id, state=State.ACTIVE, user_id=user_id, created_on=made)


def deleted(identity_id: str, user_id: str | None = None, *, ago: timedelta = DAY) -> IdentityRow:
    """The row of an identity that was deleted so long ago, for seven days."""
    row = active(identity_id, user_id).deleted(datetime.now(UTC) - ago, timedelta(days=7))
    return row.but(revoked=True, due=row.scheduled_purge_on)


def due(identity_id: str, user_id: str | None = None) -> IdentityRow:
    """The row of a deleted identity whose time is reached."""
    return deleted(identity_id, user_id, ago=timedelta(days=8))


def creating(identity_id: str, user_id: str | None = None) -> IdentityRow:
    """The row of an identity whose creation was cut short."""
    return active(identity_id, user_id).but(state=State.CREATING, due=datetime.now(UTC) - DAY)


def marked(identity_id: str, user_id: str | None = None) -> IdentityRow:
    """The row of an identity whose deletion was cut short before it was revoked."""
    row = deleted(identity_id, user_id)
    return row.but(revoked=False, due=datetime.now(UTC) - DAY)


def purging(identity_id: str, user_id: str | None = None) -> IdentityRow:
    """The row of an identity whose purge was cut short."""
    return due(identity_id, user_id).but(state=State.PURGING)


def made_up_id() -> str:
    """The id of an identity that only the registry knows."""
    return f"8:acs:{uuid4()}_{uuid4()}"


@dataclass(frozen=True)
class Picture:
    """Registry and ACS at one moment.

    Attributes:
        alive: The identities that ACS has, and how many of their tokens are alive.
        rows: The identity rows by id.
        agenda: The agenda rows.
        claims: The identity that each user row names, by the user row's key.
    """

    alive: dict[str, int]
    rows: dict[str, IdentityRow]
    agenda: set[AgendaRow]
    claims: dict[str, str]

    @property
    def orphans(self) -> set[str]:
        """Identities that ACS has and nobody knows."""
        return self.alive.keys() - self.rows.keys()

    @property
    def dangling(self) -> set[str]:
        """Identities without a row that a user row names. Such a claim counts as absent."""
        return set(self.claims.values()) - self.rows.keys()

    def disagreements(self) -> list[str]:
        """What the two do not agree in, or the rows among themselves.

        Orphans and dangling claims are not among it.
        """
        return [*self._unfinished(), *self._phantoms(), *self._agenda(), *self._claims()]

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

    def _agenda(self) -> Iterator[str]:
        wanted = {AgendaRow(row.due, row.id) for row in self.rows.values() if row.due}
        for entry in wanted ^ self.agenda:
            yield f"on the agenda or due, and not both: {entry}"

    def _claims(self) -> Iterator[str]:
        owned = {user_key(row.user_id): row.id for row in self.rows.values() if row.user_id}
        for key in owned.keys() | self.claims.keys():
            claimed = self.claims.get(key)
            if owned.get(key) != claimed and claimed not in self.dangling:
                yield f"user row {claimed}, identity row {owned.get(key)}"


class Registers:
    """The emulator's identities, and the tables of one storage account.

    The session must trust both.

    Attributes:
        tables: The address of the tables.
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
            transport=AioHttpTransport(session=session, session_owner=False, **CONNECTION),
            **CONNECTION,
        )

    async def new_table(self) -> str:
        """The name of a new table."""
        name = f"t{uuid4().hex}"
        await self._service.create_table(name)
        return name

    async def identities(self, number: int, *, with_token: bool = False) -> list[str]:
        """The ids of so many new identities in ACS, with a token each or without."""
        headers = {"Authorization": f"Bearer {await self._token()}"}
        url = f"{self._azure.env['ACS_ENDPOINT']}/identities?api-version=2023-10-01"
        body = {"createTokenWithScopes": ["chat"] if with_token else []}
        several = asyncio.Semaphore(4 * AT_ONCE)

        async def create() -> str:
            async with (
                several,
                self._session.post(url, headers=headers, json=body) as answer,
            ):
                made = await answer.json()
            return str(made["identity"]["id"])

        return list(await asyncio.gather(*(create() for _ in range(number))))

    async def _token(self) -> str:
        async with self._session.get(
            self._azure.env["IDENTITY_ENDPOINT"],
            params={"resource": ACS_AUDIENCE, "api-version": "2019-08-01"},
            headers={"X-IDENTITY-HEADER": self._azure.env["IDENTITY_HEADER"]},
        ) as answer:
            return str((await answer.json())["access_token"])

    async def write(self, table: str, rows: Iterable[IdentityRow]) -> None:
        """Write identity rows with their agenda rows and user rows, many at a time."""
        partitions: defaultdict[str, list[Change]] = defaultdict(list)
        for row in rows:
            partitions[partition(row.id)] += [
                ("create", identity_entity(row)),
                *agenda_change(row, "create"),
            ]
            if row.user_id:
                claim = user_entity(row.user_id, row.id)
                partitions[partition(row.user_id)].append(("create", claim))
        several = asyncio.Semaphore(AT_ONCE)

        async def send(batch: list[Change]) -> None:
            async with several:
                await client.submit_transaction(batch)

        client = self._service.get_table_client(table)
        await asyncio.gather(
            *(send(batch) for changes in partitions.values() for batch in _batches(changes))
        )

    async def claim(self, table: str, user_id: str, identity_id: str) -> None:
        """Write a user row alone."""
        await self._service.get_table_client(table).create_entity(user_entity(user_id, identity_id))

    async def picture(self, *tables: str) -> Picture:
        """Everything there is in ACS and in these tables."""
        answer = await self._control.ask("GET", "identities")
        picture = Picture(
            alive={
                one["id"]: one["tokensAlive"]
                for one in answer["identities"]
                if one["state"] == "active"
            },
            rows={},
            agenda=set(),
            claims={},
        )
        for name in tables:
            async for entity in self._service.get_table_client(name).list_entities():
                _enter(picture, entity)
        return picture


def _enter(picture: Picture, entity: Any) -> None:
    key = entity["RowKey"]
    match key[0]:
        case "i":
            row = identity_row(entity)
            picture.rows[row.id] = row
        case "t":
            picture.agenda.add(agenda_row(key))
        case "u":
            picture.claims[key] = entity["identityId"]


def _batches(changes: list[Change]) -> Iterator[list[Change]]:
    for start in range(0, len(changes), BATCH):
        yield changes[start : start + BATCH]
