"""The app's settings, read from the environment. settings_table.py has the table of settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # not in typeshed

import msgspec

from identity_service.policies import CleanupPolicy, DeletionPolicy, TokenPolicy
from identity_service.settings_table import (
    ACCESS_KEY,
    ACCOUNT_NAME,
    CHAPTERS,
    CLIENT_ID,
    CONNECTION_STRING,
    DELETES_PER_30S,
    ENDPOINT,
    HTTPS_PROXY,
    MAX_ATTEMPTS,
    NO_PROXY,
    PROBLEM_BASE,
    PURGE_PROTECTION,
    REGISTERED_ONLY,
    RETENTION,
    SCHEDULE,
    SERVICE_TOKENS,
    SETTINGS,
    SIGN_IN,
    STORAGE,
    STORAGE_CLIENT_ID,
    STORAGE_CREDENTIAL,
    TABLE_SERVICE,
    TEAMS_APP_ID,
    TELEMETRY,
    TIME_BUDGET,
    TOKEN_CREDENTIALS,
    USER_TOKENS,
    Setting,
    TokenSettings,
    base64_text,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Storage:
    """The app's storage account, named as the Functions host expects it.

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
        acs_access_key: Its key in base64. Empty if the app uses its own identity.
        client_id: The user-assigned identity to use. Empty for the system-assigned one.
        storage: Where the registry's table is.
        service_tokens: The tokens that services may have.
        user_tokens: The tokens that signed-in users may have.
        registered_only: Whether identities that the registry does not know are refused.
        sign_in_enabled: Whether the platform checks sign-ins.
        teams_app_id: The app for which users' Teams tokens are exchanged. Empty for none.
        problem_base_uri: The page that documents the problems.
        proxy: The URL of the proxy. Empty for none.
        no_proxy: The hosts that are reached without the proxy, separated by commas.
        telemetry: Whether the worker has set up OpenTelemetry.
    """

    acs_endpoint: str
    acs_access_key: str = field(repr=False)
    client_id: str
    storage: Storage
    deletion: DeletionPolicy
    cleanup: CleanupPolicy
    service_tokens: TokenPolicy
    user_tokens: TokenPolicy
    registered_only: bool
    sign_in_enabled: bool
    teams_app_id: str
    problem_base_uri: str
    proxy: str = field(repr=False)
    no_proxy: str
    telemetry: bool

    def proxies_for(self, url: str) -> dict[str, str]:
        """The keyword `proxies` for an SDK client that calls `url`.

        It applies to https only: the platform's identity endpoint is plain http on this machine.
        """
        bypass = proxy_bypass_environment(urlsplit(url).netloc, {"no": self.no_proxy})
        return {"https": self.proxy} if self.proxy and not bypass else {}


class Reading(NamedTuple):
    """What the environment contains.

    Attributes:
        settings: Has the default for each invalid setting.
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
    env.get(TOKEN_CREDENTIALS)  # azure-identity reads it; checked here with all other settings
    if not env.text(SCHEDULE):
        env.require(SCHEDULE, "Without it, nothing would ever be purged.")
    settings = Settings(
        acs_endpoint=endpoint,
        acs_access_key=access_key,
        client_id=env.get(CLIENT_ID),
        storage=storage,
        deletion=DeletionPolicy(timedelta(days=env.get(RETENTION)), env.get(PURGE_PROTECTION)),
        cleanup=CleanupPolicy(
            deletes_per_30s=env.get(DELETES_PER_30S),
            time_budget=timedelta(seconds=env.get(TIME_BUDGET)),
            max_attempts=env.get(MAX_ATTEMPTS),
        ),
        service_tokens=_read_token_policy(env, SERVICE_TOKENS),
        user_tokens=_read_token_policy(env, USER_TOKENS),
        registered_only=env.get(REGISTERED_ONLY),
        sign_in_enabled=env.get(SIGN_IN),
        teams_app_id=env.get(TEAMS_APP_ID),
        problem_base_uri=env.get(PROBLEM_BASE),
        proxy=env.get(HTTPS_PROXY),
        no_proxy=env.get(NO_PROXY),
        telemetry=env.get(TELEMETRY),
    )
    return Reading(settings, env.invalid, env.misspelled)


class _Environment:
    """The environment with case-insensitive names, as .NET's configuration reads it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.invalid: list[str] = []
        self._values: dict[str, dict[str, str]] = {}
        for name, value in environ.items():
            if value.strip():
                self._values.setdefault(name.lower(), {})[name] = value.strip()
        self.misspelled = self._find_misspelled()
        for setting in SETTINGS:
            self._check_spelling(setting)

    def text(self, setting: Setting[Any]) -> str:
        """The text of a setting. Empty if it is absent."""
        spellings = self._values.get(setting.name.lower(), {})
        # For the proxy variables, lower case wins, as in curl.
        first = setting.name.lower() if setting in _PROXIES else setting.name
        return spellings.get(first) or next(iter(spellings.values()), "")

    def get(self, setting: Setting[T]) -> T:
        """The value of a setting, or its default if it is absent or invalid."""
        text = self.text(setting)
        if text:
            try:
                return setting.kind.parse(text)
            except (ValueError, msgspec.MsgspecError):
                self.invalid.append(f"{setting.name} must be {setting.kind.allowed}.")
        return setting.kind.parse(setting.default)

    def require(self, setting: Setting[Any], reason: str) -> None:
        """Report a setting that is absent."""
        similar = [name for name, known in self.misspelled.items() if known == setting.name]
        hint = f" Is {similar[0]} a typing error?" if similar else ""
        self.invalid.append(
            f"{setting.name} is missing: set it to {setting.kind.allowed}. {reason}{hint}"
        )

    def _check_spelling(self, setting: Setting[Any]) -> None:
        spellings = self._values.get(setting.name.lower(), {})
        if len(set(spellings.values())) > 1 and setting not in _PROXIES:
            listed = " and ".join(sorted(spellings))
            self.invalid.append(f"{listed} have different values: keep {setting.name} only.")
        if spellings and setting.is_exact and setting.name not in spellings:
            [other, *_] = spellings
            self.invalid.append(f"{other} is not read in this spelling: name it {setting.name}.")

    def _find_misspelled(self) -> dict[str, str]:
        """Names in the environment that are close to an absent setting's name."""
        known = {setting.name.lower(): setting.name for setting in SETTINGS}
        absent = {
            _comparable(setting.name): setting.name
            for setting in SETTINGS
            if setting.name.lower() not in self._values and setting not in _NOT_OURS
        }
        found = {}
        for lower, spellings in self._values.items():
            if lower not in known:
                for match in get_close_matches(_comparable(lower), absent, n=1, cutoff=0.85):
                    found[next(iter(spellings))] = absent[match]
        return found


_PROXIES = (HTTPS_PROXY, NO_PROXY)
# Other programs have settings with names like these.
_NOT_OURS = (*_PROXIES, TOKEN_CREDENTIALS, CLIENT_ID, *CHAPTERS["Set by the platform"])


def _comparable(name: str) -> str:
    """The part of a name that makes it different from its neighbours."""
    prefix = f"{STORAGE.name}__".lower()
    return name.lower().removeprefix(prefix)


def _read_acs(env: _Environment) -> tuple[str, str]:
    """Endpoint and key, in one of the three ways of Microsoft's quickstart."""
    if connection_string := env.text(CONNECTION_STRING):
        for other in (ENDPOINT, ACCESS_KEY):
            if env.text(other):
                env.invalid.append(
                    f"{CONNECTION_STRING.name} and {other.name} are both set: remove one of them."
                )
        return _read_connection_string(env, connection_string)
    if not env.text(ENDPOINT):
        env.require(ENDPOINT, f"Or set {CONNECTION_STRING.name}.")
    return env.get(ENDPOINT), env.get(ACCESS_KEY)


def _read_connection_string(env: _Environment, text: str) -> tuple[str, str]:
    parts = _parts(text)
    endpoint, key = parts.get("endpoint", ""), parts.get("accesskey", "")
    if not (endpoint and key):
        env.invalid.append(
            f"{CONNECTION_STRING.name} must be a connection string: copy it from the Keys page of"
            " the ACS resource (endpoint=https://…;accesskey=…)."
        )
        return "", ""
    for part, kind in (("endpoint", ENDPOINT.kind), ("accesskey", ACCESS_KEY.kind)):
        try:
            parts[part] = kind.parse(parts[part])
        except ValueError:
            env.invalid.append(f"{CONNECTION_STRING.name}: {part} must be {kind.allowed}.")
    return parts["endpoint"], parts["accesskey"]


def _read_storage(env: _Environment) -> Storage:
    """Where the tables are. A connection string wins, as in the Functions host."""
    if connection_string := env.text(STORAGE):
        if not _is_account(connection_string):
            env.invalid.append(
                f"{STORAGE.name} must be the connection string of a storage account: copy it from"
                f" the account, or remove it and set {ACCOUNT_NAME.name}."
            )
        return Storage(connection_string=connection_string)
    env.get(STORAGE_CREDENTIAL)
    if address := env.text(TABLE_SERVICE):
        address = env.get(TABLE_SERVICE)
    elif env.text(ACCOUNT_NAME):
        address = f"https://{env.get(ACCOUNT_NAME)}.table.core.windows.net"
    else:
        env.require(ACCOUNT_NAME, f"Or set {TABLE_SERVICE.name}.")
    return Storage(table_service=address, client_id=env.get(STORAGE_CLIENT_ID))


def _is_account(connection_string: str) -> bool:
    """Whether it names an account and a key, or a shared access signature for its tables."""
    parts = _parts(connection_string)
    if parts.get("sharedaccesssignature"):
        return bool(parts.get("accountname") or parts.get("tableendpoint"))
    try:
        return bool(parts.get("accountname") and base64_text(parts.get("accountkey", "")))
    except ValueError:
        return False


def _parts(connection_string: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in connection_string.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _read_token_policy(env: _Environment, settings: TokenSettings) -> TokenPolicy:
    scopes, max_minutes = env.get(settings.scopes), env.get(settings.max_minutes)
    default_minutes = env.get(settings.default_minutes)
    if default_minutes > max_minutes:
        if env.text(settings.default_minutes):
            env.invalid.append(
                f"{settings.default_minutes.name} must not be more than"
                f" {settings.max_minutes.name}."
            )
        default_minutes = max_minutes
    return TokenPolicy(scopes, default_minutes, max_minutes)
