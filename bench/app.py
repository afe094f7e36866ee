"""The app as a contender: its trigger functions, called as the Python worker calls them."""

import importlib.util
import json
from collections.abc import Iterator
from itertools import cycle
from types import SimpleNamespace
from typing import Any

import azure.functions as func

from bench import ROOT

SCOPES = b'{"scopes":["voip"]}'
_INVOCATION = SimpleNamespace(invocation_id="11111111-2222-3333-4444-555555555555")


class App:
    """A copy of the app of its own, with its own clients."""

    def __init__(self, *, reads_the_table: bool = True) -> None:
        module = _fresh_copy()
        if not reads_the_table:
            vars(module.services)["registry"] = _NoRows()
        self._functions = {
            function.get_function_name(): function.get_user_function()
            for function in module.app.get_functions()
        }
        self._identities: Iterator[str] = iter(())

    async def prepare(self, identities: list[str]) -> None:
        """Let it work on these from now on."""
        self._identities = cycle(identities)

    async def issue(self) -> None:
        """A token for the next identity."""
        identity_id = next(self._identities)
        path = f"identities/{identity_id}/tokens"
        await self._call("issue_token", 200, _request("POST", path, identity_id, SCOPES))

    async def create(self) -> str:
        """A new identity; its id."""
        body = await self._call("create_identity", 201, _request("POST", "identities"))
        return str(json.loads(body)["id"])

    async def delete(self, identity_id: str) -> None:
        """Delete it."""
        request = _request("DELETE", f"identities/{identity_id}", identity_id)
        await self._call("delete_identity", 202, request)

    async def _call(self, function: str, expected: int, request: func.HttpRequest) -> bytes:
        response = await self._functions[function](request, _INVOCATION)
        content: bytes = response.get_body()
        if response.status_code != expected:
            raise RuntimeError(f"{function}: {response.status_code} {content.decode()}")
        return content


class _NoRows:
    """A registry that costs nothing: it knows nobody, and says so at once."""

    async def read(self, identity_id: str) -> None:
        """No row."""


def _request(method: str, path: str, identity_id: str = "", body: bytes = b"") -> func.HttpRequest:
    return func.HttpRequest(
        method,
        f"https://app.example/api/{path}",
        headers={"content-type": "application/json"},
        route_params={"id": identity_id},
        body=body,
    )


def _fresh_copy() -> Any:
    """The app's module once more, with services of its own."""
    spec = importlib.util.spec_from_file_location("function_app", ROOT / "function_app.py")
    assert spec is not None  # noqa: S101 -- the file is there
    assert spec.loader is not None  # noqa: S101 -- the same
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
