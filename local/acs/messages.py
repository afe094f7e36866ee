"""What comes in and what goes out, without a connection: one call, one answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

import msgspec


class Operation(StrEnum):
    """What a caller may want of the service."""

    CREATE = "create"
    ISSUE = "issue"
    REVOKE = "revoke"
    DELETE = "delete"
    EXCHANGE = "exchange"


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it stood on the wire.

    `target` is the raw request target, percent-encoding untouched: signatures are made over it.
    `headers` is case-insensitive. `identity_id` is the decoded part of the path, where it has one.
    """

    operation: Operation
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    api_version: str | None
    identity_id: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, less the headers that every response carries."""

    status: int
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def success(cls, status: int, value: Mapping[str, Any]) -> Self:
        """A JSON answer, with the Content-Type that recorded successes have."""
        content_type = "application/json; charset=utf-8"
        return cls(status, msgspec.json.encode(value), {"Content-Type": content_type})

    @classmethod
    def error(
        cls,
        status: int,
        error: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
    ) -> Self:
        """An error body; recorded ones have a Content-Type without a charset."""
        content = msgspec.json.encode({"error": error})
        return cls(status, content, {"Content-Type": "application/json", **(headers or {})})
