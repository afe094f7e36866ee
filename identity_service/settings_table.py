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
from identity_service.policies import SCOPES, Scope
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
        meaning: What it does, for docs/settings.md.
        default: The value if the setting is absent or empty.
        sample: The value in local.settings.sample.json. None if it is not in there.
        is_exact: Whether a library or the platform reads it, and only in this spelling.
    """

    name: str
    kind: Kind[T]
    meaning: str
    default: str = ""
    sample: str | None = None
    is_exact: bool = False


# Types of settings


def _whole_number(lowest: int, highest: int) -> Kind[int]:
    limits = Annotated[int, msgspec.Meta(ge=lowest, le=highest)]

    def parse(text: str) -> int:
        if not re.fullmatch("[0-9]{1,9}", text):  # msgspec would accept 1e3
            raise ValueError
        return msgspec.convert(text, limits, strict=False)

    return Kind(f"a whole number from {lowest} to {highest}", parse)


def _scopes(text: str) -> tuple[Scope, ...]:
    listed = msgspec.convert(text.replace(",", " ").split(), set[Scope])
    return tuple(scope for scope in SCOPES if scope in listed)


def _guid(text: str) -> str:
    return str(UUID(text)) if text else ""


def base64_text(text: str) -> str:
    """Return the text if it is base64.

    Raises:
        ValueError: it is not.
    """
    base64.b64decode(text, validate=True)
    return text


_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*)|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
_PATH = re.compile(r"[A-Za-z0-9/._-]*")


def _https(text: str) -> SplitResult:
    url = urlsplit(text)
    has_more = url.query or url.fragment or "@" in url.netloc
    is_plain = url.scheme == "https" and _HOST.fullmatch(url.netloc) and not has_more
    if not is_plain or url.port == 0 or not _PATH.fullmatch(url.path):
        raise ValueError
    return url


def _endpoint(text: str) -> str:
    """The endpoint in the only spelling that the SDK signs and sends correctly."""
    if not text:
        return ""
    url = _https(text)
    if url.path.strip("/"):
        raise ValueError
    return f"https://{url.netloc.lower()}"


def _address(text: str) -> str:
    return _https(text) and text.rstrip("/") if text else ""


def _schedule(text: str) -> str:
    if not ncrontab.is_valid(text):
        raise ValueError
    return text


def _proxy(text: str) -> str:
    """The proxy's URL. `http://` may be left out."""
    if not text:
        return ""
    address = text if "://" in text else f"http://{text}"
    url = urlsplit(address)
    if url.scheme not in ("http", "https") or not url.hostname or url.port == 0:
        raise ValueError
    return address


def _matches(pattern: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text and not re.fullmatch(pattern, text):
            raise ValueError
        return text

    return parse


def _one_of(*names: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text and text.lower() not in map(str.lower, names):
            raise ValueError
        return text

    return parse


_TEXT = Kind("text", str)
_FLAG = Kind("true or false", lambda text: msgspec.json.decode(text.lower(), type=bool))
_SCOPES = Kind(f"a list of some of {', '.join(SCOPES)}", _scopes)
_GUID = Kind("a GUID", _guid)
_KEY = Kind("base64: copy it from the Keys page of the ACS resource", base64_text)
_MINUTES = _whole_number(60, 1440)
_ENDPOINT = Kind(
    "https:// with a host and, if needed, a port, such as https://contoso.communication.azure.com",
    _endpoint,
)
_ADDRESS = Kind("an https:// URL without a query", _address)
_SCHEDULE = Kind(
    "a schedule of six fields, such as 0 */5 * * * * for every five minutes", _schedule
)
_PROXY = Kind("http:// or https:// with a host and, if needed, a port", _proxy)
_ACCOUNT = Kind("the name of a storage account", _matches("[a-z0-9]{3,24}"))
# An absolute URL, or a path from the root: RFC 9457 advises against other relative URLs.
_PAGE = Kind(
    "the URL of a page, without a fragment, such as https://docs.example/problems",
    _matches(r"(?:https?://[A-Za-z0-9.:\[\]-]+)?/(?!/)[A-Za-z0-9/._~!$&'()*+,;=:@%?-]*"),
)
# The names that azure-identity accepts.
CREDENTIALS = (
    "ManagedIdentityCredential",
    "EnvironmentCredential",
    "WorkloadIdentityCredential",
    "SharedTokenCacheCredential",
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
    "The endpoint of the ACS resource, `https://…`. On its own, the app uses its managed identity"
    " and needs no secret. Either this or the connection string is required.",
    sample="https://localhost:7072",
)
ACCESS_KEY = Setting(
    "COMMUNICATION_SERVICES_ACCESSKEY",
    _KEY,
    "An access key of that resource, instead of the managed identity.",
    sample="",
)
CONNECTION_STRING = Setting(
    "COMMUNICATION_SERVICES_CONNECTION_STRING",
    _TEXT,
    "Endpoint and access key in one setting, instead of the two above.",
    sample="",
)
TOKEN_CREDENTIALS = Setting(
    "AZURE_TOKEN_CREDENTIALS",
    _CREDENTIAL,
    "`ManagedIdentityCredential` in Azure. Leave it out on a laptop to use `az login`.",
    sample="ManagedIdentityCredential",
    is_exact=True,
)
CLIENT_ID = Setting(
    "AZURE_CLIENT_ID",
    _TEXT,
    "The client id of a user-assigned managed identity. Without it: the system-assigned one.",
    sample="",
)
STORAGE = Setting(
    "AzureWebJobsStorage",
    _TEXT,
    "A connection string with a key, instead of the `AzureWebJobsStorage__` settings. It wins over"
    " them.",
)
ACCOUNT_NAME = Setting(
    "AzureWebJobsStorage__accountName",
    _ACCOUNT,
    "The name of the app's storage account, which also has the registry's table.",
)
TABLE_SERVICE = Setting(
    "AzureWebJobsStorage__tableServiceUri",
    _ADDRESS,
    "The URL of the account's tables, if it does not follow from the name.",
    sample="https://127.0.0.1:7076/devstoreaccount1",
)
BLOB_SERVICE = Setting(
    "AzureWebJobsStorage__blobServiceUri",
    _TEXT,
    "The same for the blobs of the Functions host.",
    sample="https://127.0.0.1:7074/devstoreaccount1",
)
QUEUE_SERVICE = Setting(
    "AzureWebJobsStorage__queueServiceUri",
    _TEXT,
    "The same for the queues of the Functions host.",
    sample="https://127.0.0.1:7075/devstoreaccount1",
)
STORAGE_CREDENTIAL = Setting(
    "AzureWebJobsStorage__credential",
    Kind("managedidentity, or be left out", _one_of("managedidentity")),
    "`managedidentity`.",
    sample="managedidentity",
)
STORAGE_CLIENT_ID = Setting(
    "AzureWebJobsStorage__clientId",
    _TEXT,
    "The client id of another user-assigned managed identity for storage.",
)
RETENTION = Setting(
    "DELETED_IDENTITY_RETENTION_DAYS",
    _whole_number(0, 90),
    "How many days a deleted identity can be restored: 0 to 90. With 0, the next sweep purges it.",
    default="7",
    sample="7",
)
PURGE_PROTECTION = Setting(
    "PURGE_PROTECTION",
    _FLAG,
    "`true` refuses every purge before the scheduled time.",
    default="false",
    sample="false",
)
SCHEDULE = Setting(
    "CLEANUP_SCHEDULE",
    _SCHEDULE,
    "When the sweep runs: six fields, UTC. `0 */5 * * * *` is every five minutes. It is required:"
    " without it, nothing would ever be purged.",
    sample="0 */5 * * * *",
)
DELETES_PER_30S = Setting(
    "CLEANUP_DELETES_PER_30S",
    _whole_number(1, 500),
    "The sweep's rate limit: calls that change ACS per 30 seconds, 1 to 500. ACS allows 500.",
    default="400",
    sample="400",
)
TIME_BUDGET = Setting(
    "CLEANUP_TIME_BUDGET_SECONDS",
    _whole_number(10, 3600),
    "After this many seconds, a sweep starts no new work: 10 to 3600. Keep it below the app's"
    " `functionTimeout`.",
    default="240",
    sample="240",
)
MAX_ATTEMPTS = Setting(
    "CLEANUP_MAX_ATTEMPTS",
    _whole_number(1, 1000),
    "After this many failures in a row, an entry is stuck: it is retried once a day, and"
    " `GET deleted-identities?stuck=true` lists it. 1 to 1000.",
    default="10",
    sample="10",
)
REGISTERED_ONLY = Setting(
    "REGISTERED_IDENTITIES_ONLY",
    _FLAG,
    "`true` refuses identities that the registry does not know, with 404.",
    default="false",
    sample="false",
)
TEAMS_APP_ID = Setting(
    "TEAMS_APP_ID",
    _GUID,
    "The Entra application whose Teams tokens signed-in users may exchange. Without it, they may"
    " exchange none.",
    sample="",
)
PROBLEM_BASE = Setting(
    "PROBLEM_BASE_URI",
    _PAGE,
    "Where you publish [problems.md](problems.md), without a fragment. The `type` of a problem is"
    " this URL, `#` and the problem's code.",
    default=PROBLEMS,
    sample="",
)
HTTPS_PROXY = Setting(
    "HTTPS_PROXY",
    _PROXY,
    "The proxy for connections to Azure, `http://…` or `https://…`. The name in lower case wins.",
)
NO_PROXY = Setting(
    "NO_PROXY",
    _TEXT,
    "Hosts that are reached without the proxy, separated by commas, or `*` for all.",
)
WORKER_RUNTIME = Setting(
    "FUNCTIONS_WORKER_RUNTIME",
    _TEXT,
    "`python`: the worker that the Functions host starts.",
    sample="python",
)
SIGN_IN = Setting(
    "WEBSITE_AUTH_ENABLED",
    # Lenient, because the platform sets it: anything but true means that sign-in is off.
    Kind("true or false", lambda text: text.lower() == "true"),
    "App Service Authentication sets it to `True`. Never set it yourself: it makes the app trust"
    " the headers about signed-in users.",
)
TELEMETRY = Setting(
    "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY",
    _FLAG,
    "`true` enables OpenTelemetry in the worker: traces, and metrics of this app. A new worker then"
    " takes longer to start.",
    default="false",
)
TELEMETRY_MODE = Setting(
    "AzureFunctionsJobHost__telemetryMode",
    _TEXT,
    "`OpenTelemetry`, together with the setting above: the same for the host.",
)
INSIGHTS = Setting(
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    _TEXT,
    "The Application Insights resource. It grants no access if local authentication is off.",
)
INSIGHTS_AUTHENTICATION = Setting(
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    _TEXT,
    "`Authorization=AAD;ClientId=…`: the identity with which the host and the worker write there.",
)


class TokenSettings(NamedTuple):
    """The settings of one kind of caller's token policy."""

    scopes: Setting[tuple[Scope, ...]]
    default_minutes: Setting[int]
    max_minutes: Setting[int]


def _token_settings(
    kind: str, scopes: str, default: str, highest: str, *, sample_scopes: str
) -> TokenSettings:
    return TokenSettings(
        Setting(
            f"{kind}_TOKEN_SCOPES",
            _SCOPES,
            "The allowed scopes, separated by spaces or commas.",
            default=scopes,
            sample=sample_scopes,
        ),
        Setting(
            f"{kind}_TOKEN_DEFAULT_MINUTES",
            _MINUTES,
            "The lifetime of a token if the request does not give one: 60 to 1440, and at most the"
            " next setting.",
            default=default,
            sample=default,
        ),
        Setting(
            f"{kind}_TOKEN_MAX_MINUTES",
            _MINUTES,
            "The longest lifetime that a request may give: 60 to 1440.",
            default=highest,
            sample=highest,
        ),
    )


USER_TOKENS = _token_settings("USER", "chat voip", "60", "240", sample_scopes="chat voip")
SERVICE_TOKENS = _token_settings("SERVICE", " ".join(SCOPES), "1440", "1440", sample_scopes="")

CHAPTERS: dict[str, tuple[Setting[Any], ...]] = {
    "Azure Communication Services": (ENDPOINT, ACCESS_KEY, CONNECTION_STRING),
    "The app's own identity": (TOKEN_CREDENTIALS, CLIENT_ID),
    "Storage": (
        ACCOUNT_NAME,
        TABLE_SERVICE,
        BLOB_SERVICE,
        QUEUE_SERVICE,
        STORAGE_CREDENTIAL,
        STORAGE_CLIENT_ID,
        STORAGE,
    ),
    "Deletion": (RETENTION, PURGE_PROTECTION),
    "The sweep": (SCHEDULE, DELETES_PER_30S, TIME_BUDGET, MAX_ATTEMPTS),
    "Tokens for signed-in users": USER_TOKENS,
    "Tokens for services": SERVICE_TOKENS,
    "Callers": (REGISTERED_ONLY, TEAMS_APP_ID, PROBLEM_BASE),
    "The network": (HTTPS_PROXY, NO_PROXY),
    "Set by the platform": (
        WORKER_RUNTIME,
        SIGN_IN,
        TELEMETRY,
        TELEMETRY_MODE,
        INSIGHTS,
        INSIGHTS_AUTHENTICATION,
    ),
}
SETTINGS = tuple(setting for settings in CHAPTERS.values() for setting in settings)
