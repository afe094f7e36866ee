"""Everything the benchmarks use of the product's code. No other module of bench imports it."""

import asyncio
import contextlib
import importlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.core.exceptions import ResourceExistsError
from azure.functions import FunctionApp

from identity_service.azure.clients import Clients
from identity_service.azure.table import TABLE
from identity_service.azure.table_codec import identity_key, partition
from identity_service.http.triggers import Triggers
from identity_service.identity import Actor, Identity, State
from identity_service.lifecycle import Lifecycle
from identity_service.operations.identities import create_identity
from identity_service.operations.tokens import issue_token
from identity_service.policies import CleanupPolicy, Role
from identity_service.services import Services
from identity_service.sweep import purge_deleted_identities
from tests.support.memory import MemoryAcs, MemoryRegistry
from tests.support.product import CountedRegistry, ShiftedClock, batches

DELETES_PER_30S = CleanupPolicy().deletes_per_30s
REGISTRY = TABLE
# Calls under way at once while the registry is filled or read.
_AT_ONCE = 16
_PAGE = 200
# What a caller may ask for.
LARGEST_PAGE = 1000


def load_functions() -> Mapping[str, Any]:
    """Load the app; return its trigger functions by name."""
    return _by_name(importlib.import_module("function_app").app)


def functions_in_memory() -> Mapping[str, Any]:
    """Return trigger functions by name. Their upstreams are in memory: what is left is our own."""
    # The ids in memory are of another resource.
    app = FunctionApp()
    services = Services({**os.environ, "COMMUNICATION_SERVICES_RESOURCE_ID": ""})
    services.acs, services.registry = MemoryAcs(services.clock), MemoryRegistry()
    triggers = Triggers(app, services, for_services=True)
    triggers.post("identities", create_identity, Role.MANAGE)
    triggers.post("identities/{id}/tokens", issue_token, Role.ISSUE)
    return _by_name(app)


def _by_name(app: FunctionApp) -> Mapping[str, Any]:
    return {str(each.get_function_name()): each.get_user_function() for each in app.get_functions()}


def row_keys(identity_id: str) -> tuple[str, str]:
    """Return PartitionKey and RowKey of the identity's row in the registry's table."""
    return partition(identity_id), identity_key(identity_id)


@dataclass(frozen=True)
class Swept:
    """The result of one sweep."""

    purged: int
    backlog: int
    seconds: float


@dataclass(frozen=True)
class Remains:
    """What the last sweeps of a soak leave.

    Attributes:
        living: The ids of the active and suspended identities in the registry.
        purged: How many identities the last sweeps purged.
        unfinished: How many due entries remain. There must be none.
        user_rows: The identity that each user's row names, by user id; empty if there is no row.
    """

    living: set[str]
    purged: int
    unfinished: int
    user_rows: dict[str, str]


class Product:
    """The product's clients and sweep, outside the Functions host.

    Attributes:
        counted: Counts the requests to the table service.
    """

    def __init__(self) -> None:
        self._services = Services(os.environ)
        self.counted = CountedRegistry(
            self._services.settings.storage.table_service,
            TABLE,
            Clients(self._services.settings).storage_credential,
        )
        self._table, self._registry = self.counted.table, self.counted.registry

    async def sweep(self, deletes_per_30s: int, ahead: timedelta = timedelta()) -> Swept:
        """Sweep once, with the clock this far ahead."""
        await self._registry.read("")  # creates the table
        clock = ShiftedClock(ahead)
        report = await purge_deleted_identities(
            Lifecycle(self._services.acs, self._registry, clock),
            self._registry,
            clock,
            CleanupPolicy(deletes_per_30s=deletes_per_30s),
            self._services.resource,
            self._services.teams_access,
        )
        return Swept(report.purged, report.backlog, report.duration.total_seconds())

    async def create_due(self, number: int, *, with_users: bool) -> None:
        """Create identities in ACS and write registry rows by which all of them are due."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def create(each: int) -> Identity:
            async with slots:
                return _due(await self._services.acs.create(), f"{each}" if with_users else None)

        rows = await asyncio.gather(*map(create, range(number)))
        with contextlib.suppress(ResourceExistsError):
            await self._table.create_table()
        for batch in batches(rows):
            await self._table.submit_transaction(batch)

    async def count_deleted(self) -> int:
        """List the deleted identities in the largest pages, as an export does."""
        count, continuation, more = 0, None, True
        while more:
            page = await self._registry.list_identities([State.DELETED], continuation, LARGEST_PAGE)
            count, continuation = count + len(page.items), page.continuation
            more = continuation is not None
        return count

    async def remains(self, user_ids: Iterable[str], *, purged: int) -> Remains:
        """Read what is in the registry."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def user_row(user_id: str) -> tuple[str, str]:
            async with slots:
                row = await self._registry.read_user(user_id)
            return user_id, row.identity_id if row else ""

        return Remains(
            living=await self._living(),
            purged=purged,
            unfinished=len([entry async for entry in self._registry.due_entries()]),
            user_rows=dict(await asyncio.gather(*map(user_row, user_ids))),
        )

    async def _living(self) -> set[str]:
        living = (State.ACTIVE, State.SUSPENDED)
        found: set[str] = set()
        continuation = None
        while True:
            page = await self._registry.list_identities(living, continuation, _PAGE)
            found |= {identity.id for identity in page.items}
            continuation = page.continuation
            if continuation is None:
                return found


def _due(identity_id: str, user_id: str | None) -> Identity:
    """Return the row of an identity that was deleted eight days ago, for seven days."""
    now = datetime.now(UTC)
    active = Identity(
        id=identity_id, state=State.ACTIVE, user_id=user_id, created_on=now - timedelta(days=30)
    )
    return active.delete(
        now - timedelta(days=8), timedelta(days=7), Actor.SERVICE
    ).record_revocation()
