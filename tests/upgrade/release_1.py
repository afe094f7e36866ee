"""`python release_1.py`: runs operations of release 1, whose modules must be first on the path.

It prints a port. Each connection gets one operation as a line of JSON. Before each call to ACS or
to the table, the operation asks the other side, which answers with an error, or with the response
of ACS. The last line is the result.
"""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from inspect import signature
from typing import Any, get_type_hints

import msgspec
from azure.core.credentials import AccessTokenInfo
from azure.data.tables.aio import TableClient
from identity_service.clock import SystemClock
from identity_service.credential import Credential
from identity_service.model import AccessToken, CleanupPolicy, DeletionPolicy, TokenPolicy

from identity_service import errors, operations, registry

ERRORS = {
    error.code: error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, errors.ServiceError) and hasattr(error, "code")
}
logger = logging.getLogger(__name__)
SCOPES = ("chat", "voip")


class Tenant:
    """The token for storage that the test has issued."""

    async def get_token_info(self, *scopes: str, options: object = None) -> AccessTokenInfo:
        """Return it."""
        return AccessTokenInfo(os.environ["STORAGE_TOKEN"], int(time.time()) + 3600)

    async def close(self) -> None:
        """Do nothing."""


class Clock(SystemClock):
    """The time of the test at which the operation started."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        """The time."""
        return self._now


class Test:
    """The other side of the connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._lock = asyncio.Lock()

    async def receive(self) -> Any:
        """Read a line."""
        return msgspec.json.decode(await self._reader.readline())

    async def send(self, message: object) -> None:
        """Send a line."""
        self._writer.write(msgspec.json.encode(message) + b"\n")
        await self._writer.drain()

    async def ask(self, call: str, *arguments: object) -> Any:
        """Ask before a call, and return the answer or raise the error."""
        async with self._lock:
            await self.send({"call": call, "arguments": arguments})
            answer = await self.receive()
        if "error" in answer:
            raise ERRORS[answer["error"]]("planned by the test")
        return answer["result"]


class Acs:
    """The port `Acs`. The other side is ACS."""

    def __init__(self, test: Test) -> None:
        self._test = test

    async def create(self) -> str:
        """See `ports.Acs`."""
        return str(await self._test.ask("create"))

    async def create_with_token(self, *grant: object) -> tuple[str, AccessToken]:
        """See `ports.Acs`."""
        identity_id, token = await self._test.ask("create_with_token", *grant)
        return identity_id, msgspec.convert(token, AccessToken)

    async def issue_token(self, *arguments: object) -> AccessToken:
        """See `ports.Acs`."""
        return msgspec.convert(await self._test.ask("issue_token", *arguments), AccessToken)

    async def revoke_tokens(self, identity_id: str) -> None:
        """See `ports.Acs`."""
        await self._test.ask("revoke_tokens", identity_id)

    async def delete(self, identity_id: str) -> None:
        """See `ports.Acs`."""
        await self._test.ask("delete", identity_id)


class Registry:
    """The port `Registry` on the table. Asks before each call of one row."""

    def __init__(self, table: registry.TableRegistry, test: Test) -> None:
        self._table, self._test = table, test
        self.agenda, self.active = table.agenda, table.active

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        """The method of the table, after the question."""

        async def call(*arguments: object) -> Any:
            await self._test.ask(name)
            return await getattr(self._table, name)(*arguments)

        return call


tables: dict[str, registry.TableRegistry] = {}


def _table(name: str) -> registry.TableRegistry:
    """The registry on this table, connected as in release 1."""
    if name not in tables:
        client = TableClient(
            os.environ["TABLES"], name, credential=Credential(Tenant()), **registry._CONNECTION
        )
        tables[name] = registry.TableRegistry(client)
    return tables[name]


async def _run(test: Test, order: dict[str, Any]) -> Any:
    """Call the operation as release 1 does, with everything that its parameters name."""
    operation = getattr(operations, order["operation"])
    parts = {
        "acs": Acs(test),
        "registry": Registry(_table(order["table"]), test),
        "clock": Clock(datetime.fromisoformat(order["now"])),
        "deletion": msgspec.convert(order["deletion"], DeletionPolicy),
        "cleanup": CleanupPolicy(deletes_per_30s=1_000_000),
        "service_tokens": TokenPolicy(SCOPES, 1440, 1440),
        "user_tokens": TokenPolicy(SCOPES, 60, 1440),
        "registered_only": False,
    }
    hints = get_type_hints(operation)
    given = {
        name: parts[name] if name in parts else msgspec.convert(order["given"][name], hints[name])
        for name in signature(operation).parameters
    }
    result = await operation(**given)
    return result.values() if hasattr(result, "values") else msgspec.to_builtins(result)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    test = Test(reader, writer)
    order = await test.receive()
    try:
        done = {"done": await _run(test, order)}
    except errors.ServiceError as error:
        done = {"problem": error.code}
    except Exception:
        logger.exception("Release 1 answers 500 internal_error.")
        done = {"problem": errors.InternalError.code}
    await test.send(done)
    writer.close()


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(_main())
