"""The app's settings: read once, checked all together."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import get_args
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

from identity_service import ncrontab
from identity_service.contract import PROBLEMS
from identity_service.errors import NotConfigured
from identity_service.model import CleanupPolicy, DeletionPolicy, Scope, TokenPolicy
from identity_service.proxy import Proxy

ENDPOINT = "COMMUNICATION_SERVICES_ENDPOINT"
ACCESS_KEY = "COMMUNICATION_SERVICES_ACCESSKEY"
CONNECTION_STRING = "COMMUNICATION_SERVICES_CONNECTION_STRING"


STORAGE = "AzureWebJobsStorage"
RETENTION = "DELETED_IDENTITY_RETENTION_DAYS"
PURGE_PROTECTION = "PURGE_PROTECTION"
SCHEDULE = "CLEANUP_SCHEDULE"
PACE = "CLEANUP_DELETES_PER_30S"
TIME_BUDGET = "CLEANUP_TIME_BUDGET_SECONDS"
MAX_ATTEMPTS = "CLEANUP_MAX_ATTEMPTS"
REGISTERED_ONLY = "REGISTERED_IDENTITIES_ONLY"
TEAMS_APP = "TEAMS_APP_ID"
PROBLEM_BASE = "PROBLEM_BASE_URI"
# Set by the platform where it checks sign-ins, and by nobody else.
SIGN_IN = "WEBSITE_AUTH_ENABLED"
# What makes the worker set up OpenTelemetry.
TELEMETRY = "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY"

PROXY = "HTTPS_PROXY"
NO_PROXY = "NO_PROXY"

SCOPES: tuple[Scope, ...] = get_args(Scope)


_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*)|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
_PATH = re.compile(r"[A-Za-z0-9/._-]*")
_NUMBER = re.compile(r"[0-9]{1,6}")
# Absolute, or a path from the root: RFC 9457 advises against anything shorter. No fragment.
_PAGE = re.compile(r"(?:https?://[A-Za-z0-9.:\[\]-]+)?/(?!/)[A-Za-z0-9/._~!$&'()*+,;=:@%?-]*")
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")


@dataclass(frozen=True)
class Storage:
    """The storage account of the app, by the Functions conventions for AzureWebJobsStorage.

    Attributes:
        connection_string: With a key; then nothing else counts.
        table_service: The address of its tables, for which the app's own identity is used.
        client_id: The user-assigned identity to use there, where it is not AZURE_CLIENT_ID.
    """

    connection_string: str = field(default="", repr=False)
    table_service: str = ""
    client_id: str = ""

    @property
    def address(self) -> str:
        """Where its tables are, whichever way they are named."""
        if not self.connection_string:
            return self.table_service
        parts = _members(self.connection_string)
        suffix = parts.get("endpointsuffix", "core.windows.net")
        return parts.get("tableendpoint") or f"https://{parts.get('accountname')}.table.{suffix}"


@dataclass(frozen=True)
class Settings:
    """What the environment says, in a form that is known to be good.

    Attributes:
        acs_endpoint: `https://host` or `https://host:port` of the ACS resource.
        acs_access_key: Its key in base64; None where the app's own identity is used.
        storage: Where the registry's table is.
        deletion: What happens to deleted identities.
        cleanup: How the sweep works.
        service_tokens: What tokens callers with a function key may have.
        user_tokens: What tokens signed-in users may have.
        registered_only: Whether identities that the registry does not know are refused.
        sign_in_enabled: Whether the platform checks who is signed in. The platform says so itself.
        teams_app_id: The app for which users' Teams tokens are exchanged; empty for none.
        problem_base_uri: Where problems are explained; `#` and the code follow.
        proxy: The way to Azure, where there is only one.
        telemetry: Whether the worker has set up OpenTelemetry, for which metrics are made then.
    """

    acs_endpoint: str
    acs_access_key: str | None = field(default=None, repr=False)
    storage: Storage = field(default=Storage())
    deletion: DeletionPolicy = field(default=DeletionPolicy())
    cleanup: CleanupPolicy = field(default=CleanupPolicy())
    service_tokens: TokenPolicy = field(default=TokenPolicy(SCOPES, 1440, 1440))
    user_tokens: TokenPolicy = field(default=TokenPolicy(("chat", "voip"), 60, 240))
    registered_only: bool = False
    sign_in_enabled: bool = False
    teams_app_id: str = ""
    problem_base_uri: str = PROBLEMS
    proxy: Proxy = field(default=Proxy())
    telemetry: bool = False

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings; an empty one counts as not set.

        Raises:
            NotConfigured: with every fault and its remedy in one message, and never a value.
        """
        faults: list[str] = []
        endpoint, access_key = _acs(environ, faults)
        settings = cls(
            acs_endpoint=endpoint,
            acs_access_key=access_key,
            storage=_storage(environ, faults),
            deletion=_deletion(environ, faults),
            cleanup=_cleanup(environ, faults),
            service_tokens=_token_policy(environ, "SERVICE", (SCOPES, 1440, 1440), faults),
            user_tokens=_token_policy(environ, "USER", (("chat", "voip"), 60, 240), faults),
            registered_only=_flag(environ, REGISTERED_ONLY, faults),
            sign_in_enabled=environ.get(SIGN_IN, "").strip().lower() == "true",
            teams_app_id=_guid(environ, TEAMS_APP, faults),
            problem_base_uri=problem_base_uri(environ, faults),
            proxy=_proxy(environ, faults),
            telemetry=_flag(environ, TELEMETRY, faults),
        )
        if faults:
            raise NotConfigured(" ".join(faults))
        return settings


def problem_base_uri(environ: Mapping[str, str], faults: list[str]) -> str:
    """Where problems are explained; the default where the setting is at fault."""
    text = environ.get(PROBLEM_BASE, "").strip()
    if text and not _PAGE.fullmatch(text):
        faults.append(
            f"{PROBLEM_BASE} must be the address of a page, without a fragment, such as"
            " https://docs.example/problems."
        )
        return PROBLEMS
    return text or PROBLEMS


def _acs(environ: Mapping[str, str], faults: list[str]) -> tuple[str, str | None]:
    """Endpoint and key, by one of the three ways of Microsoft's quickstart."""
    endpoint, access_key, connection_string = (
        environ.get(name, "").strip() for name in (ENDPOINT, ACCESS_KEY, CONNECTION_STRING)
    )
    where = ENDPOINT
    if connection_string:
        for name, value in ((ENDPOINT, endpoint), (ACCESS_KEY, access_key)):
            if value:
                faults.append(f"{CONNECTION_STRING} and {name} are both set: remove one of them.")
        where = CONNECTION_STRING
        endpoint, access_key = _parts(connection_string)
        if not (endpoint and access_key):
            faults.append(
                f"{CONNECTION_STRING} is not a connection string: copy it from the resource's"
                " Keys page; it reads endpoint=https://…;accesskey=…"
            )
            return "", None
    elif not endpoint:
        faults.append(
            f"{ENDPOINT} is missing: set it to the endpoint of the ACS resource, or set"
            f" {CONNECTION_STRING}."
        )
    return _endpoint(where, endpoint, faults), _access_key(where, access_key, faults)


def _parts(connection_string: str) -> tuple[str, str]:
    values = _members(connection_string)
    return values.get("endpoint", ""), values.get("accesskey", "")


def _members(connection_string: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in connection_string.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _endpoint(where: str, text: str, faults: list[str]) -> str:
    """The endpoint in the one spelling with which the SDK signs and sends correctly."""
    if not text:
        return ""
    url = _https(text)
    if url is None or url.path.strip("/"):
        faults.append(
            f"{where}: the endpoint must be https:// with a bare host and, if need be, a port,"
            " such as https://contoso.communication.azure.com."
        )
        return ""
    return f"https://{url.netloc.lower()}"


def _https(text: str) -> SplitResult | None:
    """The parts of an https address of host, port and path; None when it is anything else."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return None
    more = url.query or url.fragment or "@" in url.netloc or text != text.strip()
    plain = url.scheme == "https" and _HOST.fullmatch(url.netloc) and not more
    return url if plain and port != 0 and _PATH.fullmatch(url.path) else None


def _access_key(where: str, text: str, faults: list[str]) -> str | None:
    if not text:
        return None
    if not _is_base64(text):
        name = ACCESS_KEY if where == ENDPOINT else where
        faults.append(f"{name}: the access key is not base64: copy it anew from the Keys page.")
    return text


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True


def _storage(environ: Mapping[str, str], faults: list[str]) -> Storage:
    """Where the tables are. As in the Functions host, a connection string wins."""

    def value(name: str) -> str:
        return environ.get(f"{STORAGE}__{name}", "").strip()

    connection_string = environ.get(STORAGE, "").strip()
    if connection_string:
        if not _is_account(connection_string):
            faults.append(
                f"{STORAGE} is not the connection string of a storage account: copy it from the"
                f" account, or remove it and set {STORAGE}__accountName."
            )
        return Storage(connection_string=connection_string)
    address = value("tableServiceUri")
    if not address and _ACCOUNT.fullmatch(value("accountName")):
        address = f"https://{value('accountName')}.table.core.windows.net"
    if _https(address) is None:
        faults.append(
            f"{STORAGE}__accountName or {STORAGE}__tableServiceUri is missing, or is no https://"
            " address: set it to the app's storage account."
        )
    if value("credential").lower() not in ("", "managedidentity"):
        faults.append(f"{STORAGE}__credential must be managedidentity, or be left out.")
    return Storage(table_service=address.rstrip("/"), client_id=value("clientId"))


def _is_account(connection_string: str) -> bool:
    """Whether it names an account and its key, or a shared access signature for its tables."""
    values = _members(connection_string)
    signature = values.get("sharedaccesssignature")
    account, key = values.get("accountname"), values.get("accountkey", "")
    if signature:
        return bool(account or values.get("tableendpoint"))
    return bool(account and key and _is_base64(key))


def _deletion(environ: Mapping[str, str], faults: list[str]) -> DeletionPolicy:
    days = _number(environ, RETENTION, 7, (0, 90), faults)
    return DeletionPolicy(timedelta(days=days), _flag(environ, PURGE_PROTECTION, faults))


def _cleanup(environ: Mapping[str, str], faults: list[str]) -> CleanupPolicy:
    if not ncrontab.is_valid(environ.get(SCHEDULE, "").strip()):
        faults.append(
            f"{SCHEDULE} is missing or no schedule of six fields: set it to 0 */5 * * * * for every"
            " five minutes. Without it no deleted identity would ever be purged."
        )
    return CleanupPolicy(
        deletes_per_30s=_number(environ, PACE, 400, (1, 500), faults),
        time_budget=timedelta(seconds=_number(environ, TIME_BUDGET, 240, (10, 3600), faults)),
        max_attempts=_number(environ, MAX_ATTEMPTS, 10, (1, 1000), faults),
    )


def _token_policy(
    environ: Mapping[str, str],
    kind: str,
    defaults: tuple[tuple[Scope, ...], int, int],
    faults: list[str],
) -> TokenPolicy:
    """The policy for callers of one kind: three settings that begin alike."""
    scopes, default_minutes, max_minutes = defaults
    listed = environ.get(f"{kind}_TOKEN_SCOPES", "").replace(",", " ").split()
    if not set(listed) <= set(SCOPES):
        faults.append(f"{kind}_TOKEN_SCOPES must list some of {', '.join(SCOPES)}.")
    default_name, max_name = f"{kind}_TOKEN_DEFAULT_MINUTES", f"{kind}_TOKEN_MAX_MINUTES"
    highest = _number(environ, max_name, max_minutes, (60, 1440), faults)
    default = _number(environ, default_name, min(default_minutes, highest), (60, 1440), faults)
    if default > highest:
        faults.append(f"{default_name} must not be more than {max_name}.")
    return TokenPolicy(
        scopes=tuple(scope for scope in SCOPES if scope in listed) or scopes,
        default_minutes=default,
        max_minutes=highest,
    )


def _flag(environ: Mapping[str, str], name: str, faults: list[str]) -> bool:
    text = environ.get(name, "").strip().lower() or "false"
    if text not in ("true", "false"):
        faults.append(f"{name} must be true or false.")
    return text == "true"


def _guid(environ: Mapping[str, str], name: str, faults: list[str]) -> str:
    text = environ.get(name, "").strip()
    try:
        return str(UUID(text)) if text else ""
    except ValueError:
        faults.append(f"{name} must be a GUID.")
        return ""


def _proxy(environ: Mapping[str, str], faults: list[str]) -> Proxy:
    """As curl and Python have them: the names count in lower case too, and then win."""
    address, bypass = (
        environ.get(name.lower(), "").strip() or environ.get(name, "").strip()
        for name in (PROXY, NO_PROXY)
    )
    try:
        return Proxy.parse(address, bypass)
    except ValueError:
        faults.append(f"{PROXY} must be http:// or https:// with a host and, if need be, a port.")
        return Proxy()


def _number(
    environ: Mapping[str, str],
    name: str,
    default: int,
    limits: tuple[int, int],
    faults: list[str],
) -> int:
    text = environ.get(name, "").strip() or str(default)
    lowest, highest = limits
    if not (_NUMBER.fullmatch(text) and lowest <= int(text) <= highest):
        faults.append(f"{name} must be a whole number from {lowest} to {highest}.")
        return default
    return int(text)
