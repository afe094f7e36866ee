"""The contenders of the comparison: the app's trigger functions, and the bare SDKs."""

import hashlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle
from types import SimpleNamespace
from typing import Any

import azure.functions as func
from azure.communication.identity import CommunicationUserIdentifier
from azure.communication.identity.aio import CommunicationIdentityClient
from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient
from azure.identity.aio import DefaultAzureCredential

APP = "the app"
APP_WITHOUT_READ = "the app, without the table read"
DEFAULTS = "SDK, defaults"
TUNED = "SDK, tuned"
DEFAULTS_AND_READ = "SDKs, defaults, with the table read"
TUNED_AND_READ = "SDKs, tuned, with the table read"
BOTH_DEFAULTS = "both SDKs, defaults"
BOTH_TUNED = "both SDKs, tuned"
LIBRARIES = "the libraries alone"
APP_AND_TRANSPORT = "the app, and aiohttp"

_SCOPES = b'{"scopes":["voip"]}'
_INVOCATION = SimpleNamespace(invocation_id="11111111-2222-3333-4444-555555555555")
_TABLE = "bench"
_LEASE = timedelta(seconds=60)
_RETENTION = timedelta(days=7)


class App:
    """A private copy of the app, called as the Python worker calls it."""

    def __init__(self, *, reads_table: bool = True) -> None:
        from bench.product import load_functions  # noqa: PLC0415 -- the processes of the bare SDKs must not load the product

        self._functions = load_functions(reads_table=reads_table)
        self._identities: Iterator[str] = iter(())

    async def prepare(self, identities: list[str]) -> None:
        """Use these identities from now on."""
        self._identities = cycle(identities)

    async def issue(self) -> None:
        """Issue a token for the next identity."""
        identity_id = next(self._identities)
        path = f"identities/{identity_id}/tokens"
        await self._call("issue_token", 200, _request("POST", path, identity_id, _SCOPES))

    async def create(self) -> str:
        """Create an identity and return its id."""
        body = await self._call("create_identity", 201, _request("POST", "identities"))
        return str(json.loads(body)["id"])

    async def delete(self, identity_id: str) -> None:
        """Delete an identity."""
        request = _request("DELETE", f"identities/{identity_id}", identity_id)
        await self._call("delete_identity", 202, request)

    async def _call(self, function: str, expected: int, request: func.HttpRequest) -> bytes:
        response = await self._functions[function](request, _INVOCATION)
        content: bytes = response.get_body()
        if response.status_code != expected:
            raise RuntimeError(f"{function}: {response.status_code} {content.decode()}")
        return content


def _request(method: str, path: str, identity_id: str = "", body: bytes = b"") -> func.HttpRequest:
    return func.HttpRequest(
        method,
        f"https://app.example/api/{path}",
        headers={"content-type": "application/json"},
        route_params={"id": identity_id},
        body=body,
    )


class Bare:
    """Microsoft's two clients in plain code, making the same calls with the same credential."""

    def __init__(self, **options: Any) -> None:
        credential = DefaultAzureCredential(**options)
        self._acs = CommunicationIdentityClient(
            os.environ["COMMUNICATION_SERVICES_ENDPOINT"], credential, **options
        )
        address = os.environ["AzureWebJobsStorage__tableServiceUri"]  # noqa: SIM112 -- Azure's spelling
        self._table = TableClient(address, _TABLE, credential=credential, **options)
        self._identities: Iterator[str] = iter(())

    async def prepare(self, identities: list[str]) -> None:
        """Use these identities from now on."""
        self._identities = cycle(identities)
        try:
            await self._table.create_table()
        except ResourceExistsError:
            return
        for identity_id in identities:
            await self._table.create_entity(_row(identity_id, state="active"))

    async def issue(self) -> None:
        """Issue a token for the next identity."""
        await self._acs.get_token(CommunicationUserIdentifier(next(self._identities)), ["voip"])

    async def issue_and_read(self) -> None:
        """Do the same, and read the identity's row."""
        identity_id = next(self._identities)
        await self._acs.get_token(CommunicationUserIdentifier(identity_id), ["voip"])
        await self._table.get_entity(_partition(identity_id), f"i|{identity_id}")

    async def create(self) -> str:
        """Create an identity, record it as unfinished and then as active; return its id."""
        user = await self._acs.create_user()
        identity_id = str(user.properties["id"])
        now = datetime.now(UTC)
        row = _row(identity_id, state="creating", createdOn=_text(now), due=_text(now + _LEASE))
        due = _due_row(identity_id, now + _LEASE)
        changed = await self._table.submit_transaction([("create", row), ("create", due)])
        active = _row(identity_id, state="active", createdOn=_text(now))
        await self._table.submit_transaction(
            [("update", active, _version(changed[0])), ("delete", due)]
        )
        return identity_id

    async def delete(self, identity_id: str) -> None:
        """Read the row, mark it as deleted, revoke the tokens, record the revocation."""
        read = await self._table.get_entity(_partition(identity_id), f"i|{identity_id}")
        now = datetime.now(UTC)
        mark = {"deletedOn": _text(now), "scheduledPurgeOn": _text(now + _RETENTION)}
        soon, later = _due_row(identity_id, now + _LEASE), _due_row(identity_id, now + _RETENTION)
        row = _row(identity_id, state="deleted", due=_text(now + _LEASE), **mark)
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


def _due_row(identity_id: str, due: datetime) -> dict[str, Any]:
    key = f"t|{_text(due)}|{identity_id}"
    return {"PartitionKey": _partition(identity_id), "RowKey": key}


def _partition(identity_id: str) -> str:
    return f"{int(hashlib.sha256(identity_id.encode()).hexdigest()[0], 16):02d}"


def _version(metadata: Any) -> dict[str, Any]:
    return {
        "mode": UpdateMode.REPLACE,
        "etag": metadata["etag"],
        "match_condition": MatchConditions.IfNotModified,
    }


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
