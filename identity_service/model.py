"""The values we own, and the rules over them that need no I/O."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Generic, Literal, Self, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

from identity_service.errors import InvalidBody, InvalidIdentityId, NotAllowed

T = TypeVar("T")

# What ACS knows since api-version 2023-10-01.
# Source: https://learn.microsoft.com/azure/communication-services/concepts/identity-model
Scope = Literal["chat", "chat.join", "chat.join.limited", "voip", "voip.join"]

Scopes = Annotated[
    list[Scope],
    Meta(
        min_length=1,
        max_length=5,
        description="1 to 5 of chat, chat.join, chat.join.limited, voip and voip.join, each once",
        extra_json_schema={"uniqueItems": True},
    ),
]

# A float, because to JSON 60 and 60.0 are the same number; `multiple_of` keeps it whole.
Minutes = Annotated[
    float,
    Meta(
        ge=60,
        le=1440,
        multiple_of=1,
        description="a whole number of minutes from 60 to 1440",
        extra_json_schema={"type": "integer"},
    ),
]

# ACS's own client SDKs refresh a token when this much of its life is left.
# Source: https://learn.microsoft.com/azure/communication-services/concepts/credentials-best-practices
REFRESH_BEFORE_EXPIRY = timedelta(minutes=10)

# Both halves look like GUIDs; the second one is not a version 4 GUID. The other prefixes are those
# of the sovereign clouds. Source: CommunicationIdentifier of Microsoft's SDKs, and recorded ids.
_GUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_IDENTITY_ID = re.compile(f"8:(?:acs|gcch-acs|dod-acs):{_GUID}_{_GUID}")


class Request(Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of a request. A member that is no member is refused: it would be a typing error."""


class TokenRequest(Request):
    """What a token may do, and for how long."""

    scopes: Scopes
    expires_in_minutes: Minutes | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_each_once(self.scopes)

    @property
    def minutes(self) -> int | None:
        """The lifetime asked for; None leaves it to ACS, which gives 1440 minutes."""
        return None if self.expires_in_minutes is UNSET else int(self.expires_in_minutes)


def check_each_once(scopes: list[Scope]) -> None:
    """Let every scope be named once.

    Raises:
        InvalidBody: one is named more than once.
    """
    if len(set(scopes)) != len(scopes):
        raise InvalidBody(
            "scopes names a scope more than once.", field="scopes", allowed="each scope once"
        )


UserId = Annotated[str, Meta(min_length=1, max_length=256, description="1 to 256 characters")]


class Answer(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """What an operation answers when it succeeds."""

    status: ClassVar[int] = 200


class PageQuery(Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The query of a list."""

    continuation: str | UnsetType = UNSET
    max_page_size: (
        Annotated[int, Meta(ge=1, le=100, description="a whole number from 1 to 100")] | UnsetType
    ) = UNSET

    @property
    def after(self) -> str | None:
        """Where the page begins: behind what an earlier one gave; None at the beginning."""
        return None if self.continuation is UNSET else self.continuation

    @property
    def size(self) -> int:
        """How many the page may hold."""
        return 100 if self.max_page_size is UNSET else self.max_page_size


class Identity(Answer):
    """An active identity.

    Attributes:
        created_on: When this service made it; absent where somebody else did.
    """

    id: str
    user_id: str | None = None
    created_on: datetime | None = None


class Listing(Answer, Generic[T]):
    """A page of a list. It may be short or empty; `continuation` alone says that there is more."""

    value: list[T]
    continuation: str | None = None


class AccessToken(Struct, frozen=True):
    """An ACS access token and when it expires (UTC, whole seconds)."""

    token: str
    expires_on: datetime

    @property
    def refresh_after(self) -> datetime:
        """From when on a client should ask for the next one."""
        return self.expires_on - REFRESH_BEFORE_EXPIRY


class IssuedToken(Answer):
    """An access token for an identity."""

    id: str
    token: str
    expires_on: datetime
    refresh_after: datetime

    @classmethod
    def of(cls, identity_id: str, access_token: AccessToken) -> Self:
        """The answer that hands out `access_token` of that identity."""
        return cls(
            id=identity_id,
            token=access_token.token,
            expires_on=access_token.expires_on,
            refresh_after=access_token.refresh_after,
        )


def is_identity_id(text: str) -> bool:
    """Whether the text is the id of an ACS identity."""
    return _IDENTITY_ID.fullmatch(text) is not None


def identity_id(text: str) -> str:
    """The text itself, when it is the id of an ACS identity.

    Raises:
        InvalidIdentityId: it is anything else. Nothing else must reach ACS: the SDK would sign a
            wrong address, or even call another operation.
    """
    if not is_identity_id(text):
        raise InvalidIdentityId(
            "The id in the address is not that of an ACS identity.",
            field="id",
            allowed="8:acs:<GUID>_<GUID> in lower case (8:gcch-acs: and 8:dod-acs: too)",
        )
    return text


@dataclass(frozen=True)
class TokenPolicy:
    """What tokens callers of one kind may have.

    Attributes:
        scopes: Those that may be asked for; all of them are given where a request may name none.
        default_minutes: The lifetime of a token for which none is asked.
        max_minutes: The longest one that may be asked for.
    """

    scopes: tuple[Scope, ...]
    default_minutes: int
    max_minutes: int

    def grant(self, scopes: list[Scope], minutes: int | None) -> int:
        """The lifetime of the token that is asked for, in minutes.

        Raises:
            NotAllowed: more is asked for than may be.
        """
        if not set(scopes) <= set(self.scopes):
            raise NotAllowed(
                "The policy does not give all of these scopes.",
                field="scopes",
                allowed=", ".join(self.scopes),
            )
        if minutes is not None and minutes > self.max_minutes:
            raise NotAllowed(
                "The policy does not give tokens that live so long.",
                field="expiresInMinutes",
                allowed=f"60 to {self.max_minutes}",
            )
        return self.default_minutes if minutes is None else minutes


@dataclass(frozen=True)
class DeletionPolicy:
    """What the operator lets happen to deleted identities."""

    retention: timedelta = timedelta(days=7)
    purge_protection: bool = False


@dataclass(frozen=True)
class CleanupPolicy:
    """How the sweep works.

    Attributes:
        deletes_per_30s: Calls that change ACS, per 30 seconds; ACS takes 500 deletes.
        time_budget: After this time a sweep starts nothing new.
        max_attempts: From so many failures in a row on an entry is stuck: tried daily, and listed.
    """

    deletes_per_30s: int = 400
    time_budget: timedelta = timedelta(seconds=240)
    max_attempts: int = 10
