"""One ACS in memory and one table, used by this release and by release 1."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import msgspec
import pytest
from azure.data.tables.aio import TableClient

from identity_service.azure.registries import TableRegistry
from identity_service.azure.table_codec import SWEEP_KEY
from identity_service.errors import ServiceError
from identity_service.identity import Identity
from identity_service.lifecycle import Lifecycle
from identity_service.policies import CleanupPolicy, TokenGrant
from identity_service.ports import Acs, Registry
from tests.support.memory import MemoryAcs, Planned
from tests.support.world import ACS_IS_DOWN, TABLE_IS_DOWN, World
from tests.survival.worker import Recorded

T = TypeVar("T")

# A row as the table service returns it, without its keys.
Columns = Mapping[str, Any]


class PlannedRegistry(Planned, TableRegistry):
    """The registry of this release. A test can plan what happens before a row changes."""

    def __init__(self, table: TableClient) -> None:
        Planned.__init__(self)
        TableRegistry.__init__(self, table)

    async def update(self, old: Identity, new: Identity, *, if_awaited: bool = False) -> Identity:
        """See `ports.Registry`."""
        await self.perform("update", lambda: None)
        return await super().update(old, new, if_awaited=if_awaited)

    async def remove(self, identity: Identity) -> None:
        """See `ports.Registry`."""
        await self.perform("remove", lambda: None)
        await super().remove(identity)


class Interruption:
    """Lets something else happen just before one of an operation's calls.

    Attributes:
        happened: Whether the operation had so many calls.
    """

    def __init__(self, call: int, act: Callable[[], Awaitable[object]]) -> None:
        self.happened = False
        self._left = call
        self._act = act

    async def step(self) -> None:
        """The operation is about to make a call."""
        self._left -= 1
        if self._left == 0:
            self.happened = True
            await self._act()

    async def perform(self, name: str, call: Awaitable[T]) -> T:
        """Make a call of this release."""
        await self.step()
        return await call


class Shared(World):
    """The operations of this release on the table. `release_1` has those of the other one.

    Attributes:
        table: A client for the table.
    """

    def __init__(self, table: TableClient, port: int) -> None:
        super().__init__()
        self.table = table
        registry = PlannedRegistry(table)
        self.registry = registry  # type: ignore[assignment]  # what is used here is in the port
        self.lifecycle = Lifecycle(self.acs, registry, self.clock)
        self.cleanup = CleanupPolicy(deletes_per_30s=1_000_000)
        self.release_1 = Release1(self, port)

    @contextmanager
    def interrupted(self, interruption: Interruption) -> Iterator[None]:
        """Interrupt the operation of this release that is started in this block."""
        whole = self.lifecycle
        acs = cast(Acs, Recorded(self.acs, interruption))  # type: ignore[arg-type]  # has what it needs
        registry = cast(Registry, Recorded(self.registry, interruption))  # type: ignore[arg-type]  # the same
        self.lifecycle = Lifecycle(acs, registry, self.clock)
        yield
        self.lifecycle = whole

    async def rows(self) -> dict[str, Columns]:
        """Every row of the table by its RowKey, as it is stored, without its ETag.

        The row about the sweep is left out: every sweep changes it.
        """
        rows: dict[str, Columns] = {
            entity["RowKey"]: dict(entity) async for entity in self.table.list_entities()
        }
        rows.pop(SWEEP_KEY[1], None)
        return rows

    async def columns(self, identity_id: str) -> Columns:
        """The columns of an identity row."""
        return (await self.rows())[f"i|{identity_id}"]

    async def due_kinds(self, identity_id: str) -> str:
        """The kinds of the due entries that the identity has."""
        keys = await self.rows()
        return "".join(key[0] for key in keys if key[0] != "i" and key.endswith(identity_id))

    async def damage(self) -> list[str]:
        """What must never be: forgotten or orphaned due entries, and identities without a row."""
        rows = await self.rows()
        identities = {key[2:]: row for key, row in rows.items() if key.startswith("i|")}
        entries = sorted(key[2:] for key in rows if key[0] in "tp")
        due = sorted(
            f"{row['due']}|{identity_id}" for identity_id, row in identities.items() if "due" in row
        )
        users = {row["identityId"] for key, row in rows.items() if key.startswith("u|")}
        return [
            *(f"due entry without row: {entry}" for entry in entries if entry not in due),
            *(f"row without due entry: {entry}" for entry in due if entry not in entries),
            *(f"two due entries: {entry}" for entry in set(entries) if entries.count(entry) > 1),
            *(f"no row: {each}" for each in self.acs.identities if each not in identities),
            *(f"not in ACS: {each}" for each in identities if each not in self.acs.identities),
            *(f"user row without row: {each}" for each in users if each not in identities),
        ]


class Refused(Exception):
    """An operation of release 1 has failed with this problem code."""


class Release1(Planned):
    """The operations of release 1. A test can plan what happens before its calls to the table.

    Attributes:
        interruption: What happens before a call of the next operation.
    """

    def __init__(self, world: Shared, port: int) -> None:
        super().__init__()
        self.interruption: Interruption | None = None
        self._world = world
        self._port = port

    async def call(self, operation: str, identity_id: str = "", **given: object) -> Any:
        """Run an operation and return its result.

        Raises:
            Refused: it has failed.
        """
        end = await self._run(operation, {"identity_id": identity_id, **given})
        if "problem" in end:
            raise Refused(end["problem"])
        return end["done"]

    async def problem(self, operation: str, identity_id: str = "", **given: object) -> str:
        """Run an operation, which must fail, and return the code of the problem."""
        with pytest.raises(Refused) as refused:
            await self.call(operation, identity_id, **given)
        return str(refused.value)

    async def active(self, user_id: str | None = None) -> str:
        """Create an identity and return its id."""
        body = {} if user_id is None else {"userId": user_id}
        return str((await self.call("create_identity", body=body))["id"])

    async def creating(self, user_id: str | None = None) -> str:
        """The id of an identity whose creation stopped before its last step."""
        self.fails("update", TABLE_IS_DOWN)
        body = {} if user_id is None else {"userId": user_id}
        assert await self.problem("create_identity", body=body) == TABLE_IS_DOWN.code
        return self._world.acs.identities[-1]

    async def deleted(self, user_id: str | None = None) -> str:
        """The id of a deleted and revoked identity."""
        identity_id = await self.active(user_id)
        await self.call("delete_identity", identity_id)
        return identity_id

    async def unrevoked(self, user_id: str | None = None) -> str:
        """The id of a deleted identity whose revocation failed."""
        return await self._delete_unrevoked(await self.active(user_id))

    async def adopted(self, user_id: str | None = None) -> str:
        """The id of a deleted and revoked identity that was created elsewhere."""
        identity_id = self._world.acs.add()
        await self.call("delete_identity", identity_id)
        return identity_id

    async def adopted_unrevoked(self, user_id: str | None = None) -> str:
        """The id of such an identity whose revocation failed."""
        return await self._delete_unrevoked(self._world.acs.add())

    async def purging(self, user_id: str | None = None) -> str:
        """The id of an identity whose purge failed in ACS."""
        identity_id = await self.deleted(user_id)
        self._world.acs.fails("delete", ACS_IS_DOWN)
        assert await self.problem("purge_identity", identity_id) == ACS_IS_DOWN.code
        return identity_id

    async def _delete_unrevoked(self, identity_id: str) -> str:
        self._world.acs.fails("revoke_tokens", ACS_IS_DOWN)
        assert await self.problem("delete_identity", identity_id) == ACS_IS_DOWN.code
        return identity_id

    async def sweep(self) -> Any:
        """Run the sweep and return the figures of its report."""
        return await self.call("purge_deleted_identities")

    async def _run(self, operation: str, given: Mapping[str, object]) -> Any:
        interruption, self.interruption = self.interruption, None
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        order = {
            "operation": operation,
            "table": self._world.table.table_name,
            "now": self._world.clock.now(),
            "deletion": {"retention": self._world.deletion.retention},
            "given": given,
        }
        try:
            writer.write(msgspec.json.encode(order) + b"\n")
            while "call" in (message := msgspec.json.decode(await reader.readline())):
                if interruption:
                    await interruption.step()
                answer = await self._answer(message["call"], *message["arguments"])
                writer.write(msgspec.json.encode(answer) + b"\n")
            return message
        finally:
            writer.close()

    async def _answer(self, call: str, *arguments: Any) -> object:
        try:
            if not hasattr(MemoryAcs, call):
                await self.perform(call, lambda: None)
                return {"result": None}
            return {"result": await self._ask_acs(call, *arguments)}
        except ServiceError as error:
            return {"error": error.code}

    async def _ask_acs(self, call: str, *arguments: Any) -> object:
        acs = self._world.acs
        match call:
            case "create_with_token":
                identity_id, token = await acs.create_with_token(_grant(*arguments))
                return identity_id, _token(token)
            case "issue_token":
                identity_id, *grant = arguments
                return _token(await acs.issue_token(identity_id, _grant(*grant)))
            case _:
                return await getattr(acs, call)(*arguments)


def _grant(scopes: list[Any], minutes: int) -> TokenGrant:
    return TokenGrant(tuple(scopes), minutes)


def _token(token: Any) -> dict[str, object]:
    return {"token": token.token, "expires_on": token.expires_on}
