"""What callers may ask for, and how deletion and cleanup work. The operator's settings set this."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, Self, get_args

from identity_service.errors import NotAllowed

# The scopes of api-version 2023-10-01.
# Source: https://learn.microsoft.com/azure/communication-services/concepts/identity-model
Scope = Literal["chat", "chat.join", "chat.join.limited", "voip", "voip.join"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

# ACS's client SDKs refresh a token when it has this much time left.
# Source: https://learn.microsoft.com/azure/communication-services/concepts/credentials-best-practices
REFRESH_BEFORE_EXPIRY = timedelta(minutes=10)


@dataclass(frozen=True)
class AccessToken:
    """An ACS access token.

    Attributes:
        expires_on: When it expires (UTC, whole seconds).
        refresh_after: The time from which a client should request the next token.
    """

    token: str
    expires_on: datetime
    refresh_after: datetime

    @classmethod
    def received(cls, token: str, expires_on: datetime, now: datetime) -> Self:
        """A token that ACS has just sent.

        As in Microsoft's own credentials, a token that expires within ten minutes is refreshed
        after half of that time. Source: AutoRefreshTokenCredential in @azure/communication-common.
        """
        expires_on = expires_on.replace(microsecond=0)
        remaining = max(expires_on - now, timedelta())
        before = REFRESH_BEFORE_EXPIRY if remaining > REFRESH_BEFORE_EXPIRY else remaining / 2
        before -= timedelta(microseconds=before.microseconds)  # rounds the result up
        return cls(token, expires_on, expires_on - before)


@dataclass(frozen=True)
class TokenGrant:
    """The scopes and the lifetime of a token that the policy allows.

    Attributes:
        scopes: What the token can be used for.
        minutes: Its lifetime in minutes.
    """

    scopes: tuple[Scope, ...]
    minutes: int


# Asks ACS whether an identity exists: a token that nobody receives. Calling stays when ACS ends
# chat: docs/retirement.md.
VERIFICATION = TokenGrant(("voip",), 60)


@dataclass(frozen=True)
class TokenPolicy:
    """The tokens that one kind of caller may have.

    Attributes:
        scopes: The allowed scopes. A request that may omit its scopes gets all of them.
        default_minutes: The lifetime when the request does not give one.
        max_minutes: The longest lifetime that a request may give.
    """

    scopes: tuple[Scope, ...]
    default_minutes: int
    max_minutes: int

    def grant(self, scopes: list[Scope] | None, minutes: float | None) -> TokenGrant:
        """Check a request. None means that the request leaves the value to the policy.

        Raises:
            NotAllowed: the policy does not allow a scope or the lifetime.
        """
        if scopes is not None and not set(scopes) <= set(self.scopes):
            raise NotAllowed(
                "The policy does not allow all of these scopes.",
                field="scopes",
                allowed=", ".join(self.scopes),
            )
        if minutes is not None and minutes > self.max_minutes:
            raise NotAllowed(
                "The policy does not allow tokens with this lifetime.",
                field="expiresInMinutes",
                allowed=f"60 to {self.max_minutes}",
            )
        return TokenGrant(
            scopes=self.scopes if scopes is None else tuple(scopes),
            minutes=self.default_minutes if minutes is None else int(minutes),
        )


class ServiceAuthentication(StrEnum):
    """How services authenticate: with a function key, or with an Entra token with an app role."""

    KEYS = "keys"
    ENTRA = "entra"


class Role(StrEnum):
    """An app role of the app registration: what a service with an Entra token may do."""

    READ = "Identities.Read"
    MANAGE = "Identities.Manage"
    PURGE = "Identities.Purge"
    ISSUE = "Tokens.Issue"
    TEAMS = "TeamsAccess.Manage"


@dataclass(frozen=True)
class SignInPolicy:
    """Which users are trusted, and how often each of them may call.

    Attributes:
        enabled: Whether the platform checks sign-ins. If not, no user is trusted.
        scope: The delegated scope that an Entra token must have. Empty: any delegated scope.
        calls_per_minute: The calls of one user per minute and instance.
    """

    enabled: bool = False
    scope: str = ""
    calls_per_minute: int = 30


@dataclass(frozen=True)
class DeletionPolicy:
    """What happens to deleted identities.

    Attributes:
        retention: How long a deleted identity can be restored.
        purge_protection: Whether a purge before the scheduled time is refused.
    """

    retention: timedelta = timedelta(days=7)
    purge_protection: bool = False


@dataclass(frozen=True)
class CleanupPolicy:
    """How the sweep works.

    Attributes:
        deletes_per_30s: Its rate limit: calls that change ACS per 30 seconds. ACS allows 500.
        time_budget: The time after which a sweep starts no new work.
        max_attempts: After this many failures in a row an entry is stuck: it is listed as stuck
            and retried once a day.
        purge_hold: Whether the sweep starts no purge of a deleted identity.
        schedule: When it runs.
    """

    deletes_per_30s: int = 400
    time_budget: timedelta = timedelta(seconds=240)
    max_attempts: int = 10
    purge_hold: bool = False
    schedule: str = "0 */5 * * * *"
