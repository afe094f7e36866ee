"""The app's settings, read from the environment. settings_table.py has the table of settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import SequenceMatcher
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # not in typeshed

import msgspec

from identity_service import settings_table as table
from identity_service.policies import (
    CleanupPolicy,
    DeletionPolicy,
    ServiceAuthentication,
    SignInPolicy,
    TokenPolicy,
)
from identity_service.settings_table import SETTINGS, Setting

T = TypeVar("T")


@dataclass(frozen=True)
class Storage:
    """The storage account of the registry: that of the Functions host, unless it has its own.

    Attributes:
        connection_string: With a key. If it is set, nothing else counts.
        table_service: The URL of the tables, which are accessed with the app's own identity.
        client_id: The user-assigned identity for storage, if it is another one.
    """

    connection_string: str = field(default="", repr=False)
    table_service: str = ""
    client_id: str = ""

    @property
    def address(self) -> str:
        """The URL of its tables."""
        if not self.connection_string:
            return self.table_service
        parts = _parts(self.connection_string)
        suffix = parts.get("endpointsuffix", "core.windows.net")
        return parts.get("tableendpoint") or f"https://{parts.get('accountname')}.table.{suffix}"


@dataclass(frozen=True)
class Settings:
    """All settings in the form that the app uses.

    Attributes:
        acs_endpoint: `https://host` or `https://host:port` of the ACS resource.
        acs_resource_id: The GUID that all its identities have in their ids. Empty if not known.
        acs_access_key: Its key in base64. Empty if the app uses its own identity.
        client_id: The user-assigned identity to use. Empty for the system-assigned one.
        storage: Where the registry's table is.
        service_tokens: The tokens that services may have.
        user_tokens: The tokens that signed-in users may have.
        registered_only: Whether identities that the registry does not know are refused.
        verifications_per_30s: How often ACS may be asked whether an identity exists.
        service_authentication: How services authenticate.
        sign_in: Which signed-in users are trusted, and how often they may call.
        teams_app_id: The app for which users' Teams tokens are exchanged. Empty for none.
        problem_base_uri: The page that documents the problems.
        proxy: The URL of the proxy. Empty for none.
        no_proxy: The hosts that are reached without the proxy, separated by commas.
        telemetry: Whether the worker has set up OpenTelemetry.
    """

    acs_endpoint: str
    acs_resource_id: str
    acs_access_key: str = field(repr=False)
    client_id: str
    storage: Storage
    deletion: DeletionPolicy
    cleanup: CleanupPolicy
    service_tokens: TokenPolicy
    user_tokens: TokenPolicy
    registered_only: bool
    verifications_per_30s: int
    service_authentication: ServiceAuthentication
    sign_in: SignInPolicy
    teams_app_id: str
    problem_base_uri: str
    proxy: str = field(repr=False)
    no_proxy: str
    telemetry: bool

    def proxy_for(self, url: str) -> str:
        """The URL of the proxy for https requests to the host of `url`. Empty if there is none."""
        bypass = proxy_bypass_environment(urlsplit(url).netloc, {"no": self.no_proxy})
        return "" if bypass else self.proxy


class Reading(NamedTuple):
    """What the environment contains.

    Attributes:
        settings: Use them only if nothing is invalid. `problem_base_uri`, `telemetry`,
            `service_authentication` and `sign_in.enabled` are always usable: they have their
            defaults if they are invalid.
        invalid: One sentence for each invalid setting: what to change. Never a value.
        misspelled: Names that look like a setting, and the name of that setting.
    """

    settings: Settings
    invalid: list[str]
    misspelled: dict[str, str]


def read_settings(environ: Mapping[str, str]) -> Reading:
    """Read all settings. An empty setting counts as absent."""
    env = _Environment(environ)
    endpoint, access_key = _read_acs(env)
    storage = _read_storage(env)
    # Read by azure-identity and by the host. Checked here together with all other settings.
    env.get(table.TOKEN_CREDENTIALS)
    settings = Settings(
        acs_endpoint=endpoint,
        acs_resource_id=env.get(table.RESOURCE_ID),
        acs_access_key=access_key,
        client_id=env.get(table.CLIENT_ID),
        storage=storage,
        deletion=DeletionPolicy(
            retention=timedelta(days=env.get(table.RETENTION)),
            purge_protection=env.get(table.PURGE_PROTECTION),
        ),
        cleanup=CleanupPolicy(
            deletes_per_30s=env.get(table.DELETES_PER_30S),
            time_budget=timedelta(seconds=env.get(table.TIME_BUDGET)),
            max_attempts=env.get(table.MAX_ATTEMPTS),
            purge_hold=env.get(table.PURGE_HOLD),
            schedule=env.get_required(table.SCHEDULE, "Without it, nothing would ever be purged."),
        ),
        service_tokens=_read_token_policy(env, table.SERVICE_TOKENS),
        user_tokens=_read_token_policy(env, table.USER_TOKENS),
        registered_only=env.get(table.REGISTERED_ONLY),
        verifications_per_30s=env.get(table.VERIFICATIONS),
        service_authentication=env.get(table.SERVICE_AUTHENTICATION),
        sign_in=SignInPolicy(
            enabled=env.get(table.SIGN_IN),
            scope=env.get(table.SIGN_IN_SCOPE),
            calls_per_minute=env.get(table.USER_CALLS),
        ),
        teams_app_id=env.get(table.TEAMS_APP_ID),
        problem_base_uri=env.get(table.PROBLEM_BASE),
        proxy=env.get(table.HTTPS_PROXY),
        no_proxy=env.get(table.NO_PROXY),
        telemetry=env.get(table.TELEMETRY),
    )
    return Reading(settings, env.invalid, env.misspelled)


class _Environment:
    """The environment with case-insensitive names, as .NET's configuration reads it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.invalid: list[str] = []
        # By name in lower case: the value of each spelling.
        self._values: dict[str, dict[str, str]] = {}
        for name, value in environ.items():
            if value.strip():
                self._values.setdefault(name.lower(), {})[name] = value.strip()
        self.misspelled = self._find_misspelled()
        for setting in SETTINGS:
            self._check_spelling(setting)

    def has(self, setting: Setting[Any]) -> bool:
        """Whether a setting is present and not empty."""
        return setting.name.lower() in self._values

    def text(self, setting: Setting[Any]) -> str:
        """The text of a setting. Empty if it is absent.

        Only the proxy variables can have different values: lower case wins, as in curl.
        """
        lower = setting.name.lower()
        spellings = self._values.get(lower, {})
        return spellings.get(lower) or next(iter(spellings.values()), "")

    def get(self, setting: Setting[T]) -> T:
        """The value of a setting, or its default if it is absent, invalid or ambiguous."""
        if self.has(setting) and not self._is_ambiguous(setting):
            try:
                return setting.kind.parse(self.text(setting))
            except (ValueError, msgspec.MsgspecError):
                self.invalid.append(f"{setting.name} must be {setting.kind.allowed}.")
        return setting.default

    def get_required(self, setting: Setting[T], reason: str) -> T:
        """The same, for a setting that must be present."""
        if not self.has(setting):
            similar = [name for name, known in self.misspelled.items() if known == setting.name]
            hint = f" {similar[0]} looks like a misspelling of it." if similar else ""
            self.invalid.append(
                f"{setting.name} is missing: set it to {setting.kind.allowed}. {reason}{hint}"
            )
        return self.get(setting)

    def _is_ambiguous(self, setting: Setting[Any]) -> bool:
        values = set(self._values.get(setting.name.lower(), {}).values())
        return len(values) > 1 and setting not in _PROXIES

    def _check_spelling(self, setting: Setting[Any]) -> None:
        spellings = self._values.get(setting.name.lower(), {})
        if self._is_ambiguous(setting):
            listed = " and ".join(sorted(spellings))
            self.invalid.append(f"{listed} have different values: keep {setting.name} only.")
        if spellings and setting.is_exact and setting.name not in spellings:
            [other, *_] = spellings
            self.invalid.append(f"{other} is not read in this spelling: name it {setting.name}.")

    def _find_misspelled(self) -> dict[str, str]:
        """Names in the environment that are similar to the name of an absent setting."""
        known = {setting.name.lower() for setting in SETTINGS}
        absent = [
            setting.name
            for setting in SETTINGS
            if not self.has(setting) and setting not in _NEVER_SUGGESTED
        ]
        return {
            next(iter(spellings)): name
            for lower, spellings in self._values.items()
            if lower not in known
            for name in absent
            if _is_similar(lower, name.lower())
        }


_PROXIES = (table.HTTPS_PROXY, table.NO_PROXY)
# HTTP_PROXY is a different setting, and WEBSITE_AUTH_ENABLED must never be set by hand.
_NEVER_SUGGESTED = (*_PROXIES, table.SIGN_IN)
# How many characters a misspelled name may lack or have in excess. A wrong one counts twice.
_TYPING_ERRORS = 3


def _is_similar(one: str, other: str) -> bool:
    if abs(len(one) - len(other)) > _TYPING_ERRORS:
        return False
    blocks = SequenceMatcher(None, one, other).get_matching_blocks()
    return len(one) + len(other) - 2 * sum(block.size for block in blocks) <= _TYPING_ERRORS


def _read_acs(env: _Environment) -> tuple[str, str]:
    """Endpoint and key, in one of the three ways of Microsoft's quickstart."""
    if not env.has(table.CONNECTION_STRING):
        endpoint = env.get_required(table.ENDPOINT, f"Or set {table.CONNECTION_STRING.name}.")
        return endpoint, env.get(table.ACCESS_KEY)
    for other in (table.ENDPOINT, table.ACCESS_KEY):
        if env.has(other):
            env.invalid.append(
                f"{table.CONNECTION_STRING.name} and {other.name} are both set: remove one of them."
            )
    return _read_connection_string(env)


def _read_connection_string(env: _Environment) -> tuple[str, str]:
    name, parts = table.CONNECTION_STRING.name, _parts(env.text(table.CONNECTION_STRING))
    endpoint, key = parts.get("endpoint", ""), parts.get("accesskey", "")
    if not (endpoint and key):
        env.invalid.append(
            f"{name} must be a connection string: copy it from the Keys page of the ACS resource"
            " (endpoint=https://…;accesskey=…)."
        )
        return "", ""
    for part, kind in (("endpoint", table.ENDPOINT.kind), ("accesskey", table.ACCESS_KEY.kind)):
        try:
            parts[part] = kind.parse(parts[part])
        except ValueError:
            env.invalid.append(f"{name}: {part} must be {kind.allowed}.")
    return parts["endpoint"], parts["accesskey"]


def _read_storage(env: _Environment) -> Storage:
    """Where the registry is."""
    host, client_id = _read_host_storage(env), env.get(table.REGISTRY_CLIENT_ID)
    if not env.has(table.REGISTRY_TABLE_SERVICE):
        return host
    address = env.get(table.REGISTRY_TABLE_SERVICE)
    return Storage(table_service=address, client_id=client_id or host.client_id)


def _read_host_storage(env: _Environment) -> Storage:
    """The account of the Functions host. A connection string wins, as in the host itself."""
    if env.has(table.STORAGE):
        # The SDK accepts no empty part, and no name twice; the host does.
        parts = _parts(env.text(table.STORAGE))
        storage = Storage(connection_string=";".join(f"{name}={parts[name]}" for name in parts))
        if not _is_account(parts, storage.address):
            env.invalid.append(
                f"{table.STORAGE.name} must be the connection string of a storage account: copy it"
                f" from the account, or remove it and set {table.ACCOUNT_NAME.name}."
            )
        return storage
    env.get(table.STORAGE_CREDENTIAL)  # for the host
    if env.has(table.TABLE_SERVICE):
        address = env.get(table.TABLE_SERVICE)
    else:
        account = env.get_required(table.ACCOUNT_NAME, f"Or set {table.TABLE_SERVICE.name}.")
        address = f"https://{account}.table.core.windows.net"
    return Storage(table_service=address, client_id=env.get(table.STORAGE_CLIENT_ID))


def _is_account(parts: Mapping[str, str], address: str) -> bool:
    """Whether they name an account and a key, or a shared access signature for its tables."""
    try:
        table.plain_url(address, "https", "http")
        if "sharedaccesssignature" in parts:
            return "accountname" in parts or "tableendpoint" in parts
        return "accountname" in parts and bool(table.base64_text(parts["accountkey"]))
    except (KeyError, ValueError):
        return False


def _parts(connection_string: str) -> dict[str, str]:
    """Its parts that have a value, by their names in lower case. The last one of a name wins."""
    pairs = (part.partition("=") for part in connection_string.split(";"))
    parts = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return {name: value for name, value in parts.items() if name and value}


def _read_token_policy(env: _Environment, settings: table.TokenSettings) -> TokenPolicy:
    scopes, reported = env.get(settings.scopes), len(env.invalid)
    max_minutes, default_minutes = env.get(settings.max_minutes), env.get(settings.default_minutes)
    if default_minutes > max_minutes:
        # If one of the two is invalid, the other may be right.
        if env.has(settings.default_minutes) and len(env.invalid) == reported:
            env.invalid.append(
                f"{settings.default_minutes.name} must not be more than"
                f" {settings.max_minutes.name}."
            )
        default_minutes = max_minutes
    return TokenPolicy(scopes, default_minutes, max_minutes)
