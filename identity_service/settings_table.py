"""The table of settings: name, allowed values, default and meaning of each.

Reading them (settings.py), local.settings.sample.json and docs/settings.md all use this table.
"""

import base64
import re
from collections.abc import Callable
from typing import Annotated, Any, Generic, NamedTuple, TypeVar
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

import msgspec

from identity_service import ncrontab
from identity_service.policies import (
    SCOPES,
    CleanupPolicy,
    DeletionPolicy,
    Scope,
    ServiceAuthentication,
    SignInPolicy,
)
from identity_service.schemas import PROBLEMS

T = TypeVar("T")


class Kind(NamedTuple, Generic[T]):
    """A type of setting.

    Attributes:
        allowed: The allowed values. Completes the sentence "NAME must be …".
        parse: Converts the text. Raises `ValueError` or a msgspec error if it is not allowed.
    """

    allowed: str
    parse: Callable[[str], T]


class Setting(NamedTuple, Generic[T]):
    """One setting.

    Attributes:
        name: Its name. Case does not matter.
        kind: Its type and its allowed values.
        default: The value if the setting is absent or empty.
        meaning: What it does, for docs/settings.md.
        sample: The value in local.settings.sample.json if it is not the default. None if that file
            does not have the setting.
        is_exact: Whether a library reads it as well, and only in this spelling.
    """

    name: str
    kind: Kind[T]
    default: T
    meaning: str
    sample: str | None = ""
    is_exact: bool = False

    @property
    def default_text(self) -> str:
        """The default as it would be set."""
        if isinstance(self.default, bool):
            return str(self.default).lower()
        return " ".join(self.default) if isinstance(self.default, tuple) else str(self.default)


# Types of settings


def _whole_number(lowest: int, highest: int) -> Kind[int]:
    limits = Annotated[int, msgspec.Meta(ge=lowest, le=highest)]

    def parse(text: str) -> int:
        if not re.fullmatch("[0-9]{1,6}", text):  # msgspec would accept 1e3
            raise ValueError
        return msgspec.convert(int(text), limits)

    return Kind(f"a whole number from {lowest} to {highest}", parse)


def _scopes(text: str) -> tuple[Scope, ...]:
    kind = Annotated[set[Scope], msgspec.Meta(min_length=1)]
    listed = msgspec.convert(text.replace(",", " ").split(), kind)
    return tuple(scope for scope in SCOPES if scope in listed)


def base64_text(text: str) -> str:
    """Return the text if it is base64.

    Raises:
        ValueError: it is not.
    """
    base64.b64decode(text, validate=True)
    return text


_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*)|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
_PATH = re.compile(r"[A-Za-z0-9/._-]*")


def plain_url(text: str, *schemes: str) -> SplitResult:
    """Return the parts of a URL with one of these schemes that has only a host and a path.

    Raises:
        ValueError: it is another text.
    """
    url = urlsplit(text)
    has_more = url.query or url.fragment or "@" in url.netloc
    is_plain = url.scheme in schemes and _HOST.fullmatch(url.netloc) and not has_more
    if not is_plain or url.port == 0 or not _PATH.fullmatch(url.path):
        raise ValueError
    return url


def _endpoint(text: str) -> str:
    """The endpoint in the only spelling that the SDK signs and sends correctly."""
    url = plain_url(text, "https")
    if url.path.strip("/"):
        raise ValueError
    return f"https://{url.netloc.lower()}"


def _address(text: str) -> str:
    plain_url(text, "https")
    return text.rstrip("/")


def _proxy(text: str) -> str:
    """The proxy's URL. `http://` may be left out."""
    address = text if "://" in text else f"http://{text}"
    url = urlsplit(address)
    if url.scheme not in ("http", "https") or not url.hostname or url.port == 0:
        raise ValueError
    return address


def _if(is_allowed: Callable[[str], object]) -> Callable[[str], str]:
    """Accept the text as it is if it is allowed."""

    def parse(text: str) -> str:
        if not is_allowed(text):
            raise ValueError
        return text

    return parse


def _pattern(pattern: str) -> Callable[[str], str]:
    return _if(re.compile(pattern).fullmatch)


def _one_of(*names: str) -> Callable[[str], str]:
    lower = {name.lower() for name in names}
    return _if(lambda text: text.lower() in lower)


_TEXT = Kind("text", str)
# msgspec.convert would accept 1 and 0.
_FLAG = Kind("true or false", lambda text: msgspec.json.decode(text.lower(), type=bool))
_SERVICE_AUTHENTICATION = Kind(" or ".join(ServiceAuthentication), ServiceAuthentication)
_SCOPES = Kind(f"a list of some of {', '.join(SCOPES)}", _scopes)
_GUID = Kind("a GUID", lambda text: str(UUID(text)))
_KEY = Kind("base64: copy it from the Keys page of the ACS resource", base64_text)
_MINUTES = _whole_number(60, 1440)
_ENDPOINT = Kind(
    "https:// with a host and, if needed, a port, such as https://contoso.communication.azure.com",
    _endpoint,
)
_ADDRESS = Kind("an https:// URL without a query", _address)
_SCHEDULE = Kind(
    "a schedule of six fields that occurs, such as 0 */5 * * * * for every five minutes",
    _if(ncrontab.is_valid),
)
_PROXY = Kind("http:// or https:// with a host and, if needed, a port", _proxy)
_ACCOUNT = Kind("the name of a storage account", _pattern("[a-z0-9]{3,24}"))
# An absolute URL, or a path from the root: RFC 9457 advises against other relative URLs.
_PAGE = Kind(
    "the URL of a page, without a fragment, such as https://docs.example/problems",
    _pattern(r"(?:https?://[A-Za-z0-9.:\[\]-]+)?/(?!/)[A-Za-z0-9/._~!$&'()*+,;=:@%?-]*"),
)
# The names that azure-identity's async DefaultAzureCredential accepts, in any case.
CREDENTIALS = (
    "ManagedIdentityCredential",
    "EnvironmentCredential",
    "WorkloadIdentityCredential",
    "VisualStudioCodeCredential",
    "AzureCliCredential",
    "AzurePowerShellCredential",
    "AzureDeveloperCliCredential",
    "prod",
    "dev",
)
_CREDENTIAL = Kind(f"one of {', '.join(CREDENTIALS)}", _one_of(*CREDENTIALS))


# The table

ENDPOINT = Setting(
    "COMMUNICATION_SERVICES_ENDPOINT",
    _ENDPOINT,
    "",
    "The endpoint of the ACS resource. Required, unless the connection string is set. Without an"
    " access key, the app authenticates with its managed identity.",
    sample="https://localhost:7072",
)
ACCESS_KEY = Setting(
    "COMMUNICATION_SERVICES_ACCESSKEY",
    _KEY,
    "",
    "An access key of the resource. The app then uses it instead of the managed identity.",
)
CONNECTION_STRING = Setting(
    "COMMUNICATION_SERVICES_CONNECTION_STRING",
    _TEXT,
    "",
    "Endpoint and access key in one setting. Set either this or the two above, not both.",
)
RESOURCE_ID = Setting(
    "COMMUNICATION_SERVICES_RESOURCE_ID",
    _GUID,
    "",
    "The `immutableResourceId` of the ACS resource: the GUID in the ids of its identities,"
    " `8:acs:<GUID>_…`. If it is not the resource that the registry belongs to, the app changes"
    " nothing: [`wrong_resource`](problems.md#wrong_resource). Without this setting, the app can"
    " detect that only from ACS's responses.",
    sample=None,
)
TOKEN_CREDENTIALS = Setting(
    "AZURE_TOKEN_CREDENTIALS",
    _CREDENTIAL,
    "",
    "Which credential azure-identity uses: `ManagedIdentityCredential` in Azure. Leave it out on a"
    " laptop to use `az login`. azure-identity reads it too, so its name must be in upper case.",
    sample="ManagedIdentityCredential",
    is_exact=True,
)
CLIENT_ID = Setting(
    "AZURE_CLIENT_ID",
    _TEXT,
    "",
    "The client id of the user-assigned managed identity to use. If absent, the system-assigned one"
    " is used.",
)
STORAGE = Setting(
    "AzureWebJobsStorage",
    _TEXT,
    "",
    "A connection string with a key or a shared access signature. If it is set, the"
    " `AzureWebJobsStorage__` settings are ignored.",
    sample=None,
)
ACCOUNT_NAME = Setting(
    "AzureWebJobsStorage__accountName",
    _ACCOUNT,
    "",
    "The storage account of the Functions host. It also has the registry's table, unless"
    " `REGISTRY_STORAGE__tableServiceUri` is set. Required, unless one of the two other ways is"
    " used: the URLs below, or the connection string.",
    sample=None,
)
TABLE_SERVICE = Setting(
    "AzureWebJobsStorage__tableServiceUri",
    _ADDRESS,
    "",
    "The URL of the account's tables. Needed only if it is not"
    " `https://<account>.table.core.windows.net`.",
    sample="https://127.0.0.1:7076/devstoreaccount1",
)
BLOB_SERVICE = Setting(
    "AzureWebJobsStorage__blobServiceUri",
    _TEXT,
    "",
    "The URL of the account's blobs, for the Functions host.",
    sample="https://127.0.0.1:7074/devstoreaccount1",
)
QUEUE_SERVICE = Setting(
    "AzureWebJobsStorage__queueServiceUri",
    _TEXT,
    "",
    "The URL of the account's queues, for the Functions host.",
    sample="https://127.0.0.1:7075/devstoreaccount1",
)
STORAGE_CREDENTIAL = Setting(
    "AzureWebJobsStorage__credential",
    Kind("managedidentity, or absent", _one_of("managedidentity")),
    "",
    "`managedidentity` in Azure: the Functions host then uses a managed identity for storage.",
    sample="managedidentity",
)
STORAGE_CLIENT_ID = Setting(
    "AzureWebJobsStorage__clientId",
    _TEXT,
    "",
    "The client id of the user-assigned managed identity for storage. The Functions host needs it."
    " If it is absent, the app uses `AZURE_CLIENT_ID`.",
    sample=None,
)
REGISTRY_TABLE_SERVICE = Setting(
    "REGISTRY_STORAGE__tableServiceUri",
    _ADDRESS,
    "",
    "The URL of the tables of another storage account, such as"
    " `https://<account>.table.core.windows.net`, which then has the registry. It is accessed with"
    " a managed identity. Changing it moves no rows: the app sees only the registry that is there.",
    sample=None,
)
REGISTRY_CLIENT_ID = Setting(
    "REGISTRY_STORAGE__clientId",
    _TEXT,
    "",
    "The client id of the user-assigned managed identity for that account. If it is absent, the"
    " app uses `AzureWebJobsStorage__clientId`.",
    sample=None,
)
RETENTION = Setting(
    "DELETED_IDENTITY_RETENTION_DAYS",
    _whole_number(0, 90),
    DeletionPolicy.retention.days,
    "How many days a deleted identity can be restored. With 0, the next sweep purges it.",
)
PURGE_PROTECTION = Setting(
    "PURGE_PROTECTION",
    _FLAG,
    DeletionPolicy.purge_protection,
    "`true`: callers cannot purge an identity. Only the sweep does, at the scheduled time.",
)
SCHEDULE = Setting(
    "CLEANUP_SCHEDULE",
    _SCHEDULE,
    "",
    "When the sweep runs, in UTC. The first field is for seconds. Required, because without it"
    " nothing would ever be purged.",
    sample="0 */5 * * * *",
)
DELETES_PER_30S = Setting(
    "CLEANUP_DELETES_PER_30S",
    _whole_number(1, 500),
    CleanupPolicy.deletes_per_30s,
    "The sweep's rate limit: calls that change ACS per 30 seconds. ACS allows 500.",
)
TIME_BUDGET = Setting(
    "CLEANUP_TIME_BUDGET_SECONDS",
    _whole_number(10, 3600),
    CleanupPolicy.time_budget.seconds,
    "After this many seconds, a sweep starts no new work. Keep it below `functionTimeout` in"
    " host.json.",
)
MAX_ATTEMPTS = Setting(
    "CLEANUP_MAX_ATTEMPTS",
    _whole_number(1, 1000),
    CleanupPolicy.max_attempts,
    "After this many failures in a row, an identity or Teams Phone access is stuck: the sweep"
    " retries it once a day, and logs it. `GET deleted-identities?stuck=true` lists the deleted"
    " identities among them.",
)
PURGE_HOLD = Setting(
    "PURGE_HOLD",
    _FLAG,
    False,
    "`true`: the sweep starts no purge of a deleted identity. It still revokes, finishes purges"
    " that have begun, and purges what an interrupted call has created. A purge by hand still"
    " works.",
)
VERIFICATIONS = Setting(
    "VERIFICATIONS_PER_30S",
    _whole_number(1, 100_000),
    333,
    "How often an instance asks ACS in 30 seconds whether an identity exists that is registered or"
    " imported. Each question uses the quota for access tokens, which is 1000 unless Microsoft has"
    " raised it.",
)
REGISTERED_ONLY = Setting(
    "REGISTERED_IDENTITIES_ONLY",
    _FLAG,
    False,
    "`true`, as `infra/` sets it: calls for an identity that the registry does not know get 404."
    " `false`: the app also serves identities that were created elsewhere in the ACS resource.",
)
TEAMS_APP_ID = Setting(
    "TEAMS_APP_ID",
    _GUID,
    "",
    "The Entra application whose Teams tokens signed-in users can exchange. If absent, they cannot"
    " exchange any.",
)
SERVICE_AUTHENTICATION = Setting(
    "SERVICE_AUTHENTICATION",
    _SERVICE_AUTHENTICATION,
    ServiceAuthentication.KEYS,
    "How [services](callers.md#services) authenticate. `keys`: with a function key. `entra`: with"
    " an Entra access token that has an app role; keys are then ignored. `entra` needs App Service"
    " Authentication: without it, every call of a service is refused.",
)
SIGN_IN_SCOPE = Setting(
    "SIGN_IN_SCOPE",
    Kind("the name of one scope, without the URI of the app", _pattern(r"(?!.*://)[!-+\--~]+")),
    "",
    "The delegated scope that a user's Entra token must have, such as `Identity.Use`. Without it,"
    " any delegated scope is enough.",
)
USER_CALLS = Setting(
    "USER_CALLS_PER_MINUTE",
    _whole_number(1, 100_000),
    SignInPolicy.calls_per_minute,
    "How many requests a signed-in user may send per minute to one instance of the app. The total"
    " grows with the number of instances.",
)
PROBLEM_BASE = Setting(
    "PROBLEM_BASE_URI",
    _PAGE,
    PROBLEMS,
    "The address of your copy of [problems.md](problems.md). The `type` of a problem is this"
    " address, `#` and the problem's code.",
)
HTTPS_PROXY = Setting(
    "HTTPS_PROXY",
    _PROXY,
    "",
    "The proxy for https connections to Azure. `http://` can be left out. If the lower-case name is"
    " also set, it wins.",
    sample=None,
)
NO_PROXY = Setting(
    "NO_PROXY",
    _TEXT,
    "",
    "Hosts that are reached without the proxy, separated by commas. A host includes its subdomains."
    " A single `*` means all hosts. If the lower-case name is also set, it wins.",
    sample=None,
)
WORKER_RUNTIME = Setting(
    "FUNCTIONS_WORKER_RUNTIME",
    _TEXT,
    "",
    "`python`: the worker that the Functions host starts.",
    sample="python",
)
BODY_SIZE_LIMIT = Setting(
    "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT",
    _TEXT,
    "",
    "`1048576`: the largest body, in bytes, that the Functions host accepts. Without this setting"
    " it is 100 MB, and the host and the app hold each such body in memory.",
    sample="1048576",
)
SIGN_IN = Setting(
    "WEBSITE_AUTH_ENABLED",
    # Lenient, because the platform sets it: anything but true means that sign-in is off.
    Kind("true or false", lambda text: text.lower() == "true"),
    False,
    "App Service Authentication sets it to `True`. Never set it yourself: the app then trusts the"
    " header that names the caller.",
    sample=None,
)
TELEMETRY = Setting(
    "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY",
    _FLAG,
    False,
    "`true` enables OpenTelemetry in the worker: traces and metrics of this app. It needs"
    " [more packages](deploy.md#opentelemetry), and new workers take longer to start.",
    sample=None,
)
WORKER_TELEMETRY = Setting(
    "PYTHON_ENABLE_OPENTELEMETRY",
    _TEXT,
    "",
    "On Python 3.11 and 3.12, set it to `true` too: their workers read this setting instead. Do not"
    " set it on newer versions: if the packages are missing, Azure then shows no log, and some"
    " workers fail every call.",
    sample=None,
)
TELEMETRY_MODE = Setting(
    "AzureFunctionsJobHost__telemetryMode",
    _TEXT,
    "",
    "`OpenTelemetry` enables OpenTelemetry in the host. Set it together with the two above.",
    sample=None,
)
INSIGHTS = Setting(
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    _TEXT,
    "",
    "The Application Insights resource. It is not a secret if local authentication is off there.",
    sample=None,
)
INSIGHTS_AUTHENTICATION = Setting(
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    _TEXT,
    "",
    "`Authorization=AAD;ClientId=…`: the managed identity with which the host and the worker write"
    " to that resource.",
    sample=None,
)


class TokenSettings(NamedTuple):
    """The settings of one kind of caller's token policy."""

    scopes: Setting[tuple[Scope, ...]]
    default_minutes: Setting[int]
    max_minutes: Setting[int]


def _token_settings(
    kind: str, scopes: tuple[Scope, ...], default: int, highest: int
) -> TokenSettings:
    return TokenSettings(
        Setting(
            f"{kind}_TOKEN_SCOPES",
            _SCOPES,
            scopes,
            "The scopes that a token can have, separated by spaces or commas.",
        ),
        Setting(
            f"{kind}_TOKEN_DEFAULT_MINUTES",
            _MINUTES,
            default,
            "The lifetime of a token if the request does not set one. It cannot be more than"
            f" `{kind}_TOKEN_MAX_MINUTES`.",
        ),
        Setting(
            f"{kind}_TOKEN_MAX_MINUTES",
            _MINUTES,
            highest,
            "The longest lifetime that a request can set.",
        ),
    )


USER_TOKENS = _token_settings("USER", ("chat", "voip"), 60, 240)
SERVICE_TOKENS = _token_settings("SERVICE", SCOPES, 1440, 1440)

CHAPTERS: dict[str, tuple[Setting[Any], ...]] = {
    "Azure Communication Services": (
        ENDPOINT,
        ACCESS_KEY,
        CONNECTION_STRING,
        RESOURCE_ID,
    ),
    "The app's own identity": (TOKEN_CREDENTIALS, CLIENT_ID),
    "Storage": (
        ACCOUNT_NAME,
        TABLE_SERVICE,
        BLOB_SERVICE,
        QUEUE_SERVICE,
        STORAGE_CREDENTIAL,
        STORAGE_CLIENT_ID,
        STORAGE,
        REGISTRY_TABLE_SERVICE,
        REGISTRY_CLIENT_ID,
    ),
    "Deletion": (RETENTION, PURGE_PROTECTION, PURGE_HOLD),
    "The sweep": (SCHEDULE, DELETES_PER_30S, TIME_BUDGET, MAX_ATTEMPTS),
    "Tokens for signed-in users": USER_TOKENS,
    "Tokens for services": SERVICE_TOKENS,
    "Callers": (
        REGISTERED_ONLY,
        VERIFICATIONS,
        SERVICE_AUTHENTICATION,
        SIGN_IN_SCOPE,
        USER_CALLS,
        TEAMS_APP_ID,
        PROBLEM_BASE,
    ),
    "The network": (HTTPS_PROXY, NO_PROXY),
    "The platform": (
        WORKER_RUNTIME,
        BODY_SIZE_LIMIT,
        SIGN_IN,
        TELEMETRY,
        WORKER_TELEMETRY,
        TELEMETRY_MODE,
        INSIGHTS,
        INSIGHTS_AUTHENTICATION,
    ),
}
SETTINGS = tuple(setting for settings in CHAPTERS.values() for setting in settings)
