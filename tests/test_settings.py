"""Invalid settings are reported together, with how to fix each one and never with a value."""

import re
from datetime import datetime, timedelta

import azure.identity.aio
import pytest
from azure.identity.aio import DefaultAzureCredential
from hypothesis import given
from hypothesis import strategies as st

from identity_service import ncrontab
from identity_service.azure.registries import TableRegistry
from identity_service.policies import (
    SCOPES,
    CleanupPolicy,
    DeletionPolicy,
    ServiceAuthentication,
    SignInPolicy,
    TokenPolicy,
)
from identity_service.settings import Reading, Settings, Storage, read_settings
from identity_service.settings_table import CHAPTERS, CREDENTIALS, SETTINGS, Setting
from tests.support.settings import MINIMAL

ENDPOINT = "COMMUNICATION_SERVICES_ENDPOINT"
ACCESS_KEY = "COMMUNICATION_SERVICES_ACCESSKEY"
CONNECTION_STRING = "COMMUNICATION_SERVICES_CONNECTION_STRING"
STORAGE = "AzureWebJobsStorage"
ACCOUNT_NAME = f"{STORAGE}__accountName"
TABLE_SERVICE = f"{STORAGE}__tableServiceUri"
REGISTRY = "REGISTRY_STORAGE__tableServiceUri"
SCHEDULE = "CLEANUP_SCHEDULE"
RETENTION = "DELETED_IDENTITY_RETENTION_DAYS"

URL = "https://contoso.communication.azure.com"
KEY = "c2VjcmV0LWtleQ=="
ACCOUNT = "DefaultEndpointsProtocol=https;AccountName=contoso;AccountKey=c2VjcmV0;EndpointSuffix=x"
# The same, as the app passes it to the SDK.
SAME_ACCOUNT = (
    "defaultendpointsprotocol=https;accountname=contoso;accountkey=c2VjcmV0;endpointsuffix=x"
)
TABLES = "https://contoso.table.core.windows.net"
PROXY = "http://proxy.example:3128"
GUID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"


def read(**changes: str | None) -> Reading:
    """The minimal environment with changes. None removes a setting."""
    merged = {**MINIMAL, **changes}
    return read_settings({name: text for name, text in merged.items() if text is not None})


def valid(**changes: str | None) -> Settings:
    """The settings, which must be valid and have no misspelled name."""
    reading = read(**changes)
    assert (reading.invalid, reading.misspelled) == ([], {})
    return reading.settings


def without_acs(**changes: str) -> Reading:
    """An environment that has only these settings of ACS."""
    return read(**{ENDPOINT: None, **changes})


def without_storage(**changes: str) -> Reading:
    """An environment that has only these settings of the storage account."""
    return read(**{ACCOUNT_NAME: None, **changes})


# Numbers, flags, schedules and other single values

NO_ENDPOINTS = [
    "http://secret-host.example", "ftp://secret-host.example", "https://secret-host.example/path",
    "https://secret-host.example?a=b", "https://secret-host.example#a",
    "https://user@secret-host.example", "https://user:secret-word@secret-host.example",
    "secret-host.example", "secret-host.example:443", "httpd.example", "https://", "https://:7072",
    "https:secret-host.example", "https:///secret-host.example", "https://secret host.example",
    "https://secret-host.example\\path", "https://secret-host.example:secret",
    "https://secret-host.example:65536", "https://secret-host.example:0",
    "https://secret-host.example:-1", "https://secret-host.example:1:2", "https://[::1",
    "the endpoint of our resource",
]  # fmt: skip
INVALID_VALUES = {
    ENDPOINT: NO_ENDPOINTS,
    ACCESS_KEY: ["no base64 at all!", "c2VjcmV0LWtleQ=", "c", "====", "c2Vj_-==", "ключ", "😀"],
    "AZURE_TOKEN_CREDENTIALS": ["secret-word", "SharedTokenCacheCredential", "managed identity"],
    ACCOUNT_NAME: ["con toso", "Contoso", "x", "https://contoso.example", "c" * 25],
    TABLE_SERVICE: [
        "http://contoso.example",
        "https://",
        "https://contoso .example",
        "https://contoso.example/?sig=secret",
        "https://[::1",
    ],
    f"{STORAGE}__credential": ["workloadidentity", "secret-word"],
    REGISTRY: ["http://contoso.example", "contoso", "https://contoso.example/?sig=secret"],
    RETENTION: ["-1", "91", "ten", "7.0", "1e1", "\N{FULLWIDTH DIGIT SEVEN}", "1_0", "9" * 5_000],
    "PURGE_PROTECTION": ["yes", "1", "on", "0"],
    SCHEDULE: ["every day", "*/5 * * * *", "0 */5 * * *", "60 * * * * *"],
    "CLEANUP_DELETES_PER_30S": ["0", "501", "1e2"],
    "CLEANUP_TIME_BUDGET_SECONDS": ["9", "3601"],
    "CLEANUP_MAX_ATTEMPTS": ["0", "1001"],
    "USER_TOKEN_SCOPES": ["chat spam", "Chat", "all", "*", ","],
    "USER_TOKEN_DEFAULT_MINUTES": ["59", "1441"],
    "USER_TOKEN_MAX_MINUTES": ["59", "1441", "60.0", "-60", "an hour"],
    "SERVICE_TOKEN_SCOPES": ["chat spam", "Chat", "all", "*"],
    "SERVICE_TOKEN_DEFAULT_MINUTES": ["59", "1441"],
    "SERVICE_TOKEN_MAX_MINUTES": ["59", "1441"],
    "REGISTERED_IDENTITIES_ONLY": ["yes"],
    "PURGE_HOLD": ["yes"],
    "VERIFICATIONS_PER_30S": ["0", "100001", "x", "1.5"],
    "TEAMS_APP_ID": ["no-guid", "1"],
    "COMMUNICATION_SERVICES_RESOURCE_ID": ["no-guid", "/subscriptions/1"],
    "PROBLEM_BASE_URI": ["problems.md", "https://docs.example/#there", "/a b", "/ä", "//"],
    "SERVICE_AUTHENTICATION": ["Entra", "ENTRA", "key", "aad", "true", "keys entra", "entra,"],
    "SIGN_IN_SCOPE": [
        "Identity.Use Identity.Read",
        "Identity.Use,Identity.Read",
        "api://app/Identity.Use",
        "ü",
    ],
    "USER_CALLS_PER_MINUTE": ["0", "100001", "-1", "a few"],
    "HTTPS_PROXY": ["socks5://secret-host", "http://:secret-word@", "http://x:port", "http://x:0"],
    "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY": ["yes"],
}
# What else is allowed, with the value that the app uses.
VALID_VALUES = [
    (ENDPOINT, URL, "acs_endpoint", URL),
    (ENDPOINT, f"{URL}/", "acs_endpoint", URL),
    (ENDPOINT, "HTTPS://contoso.example", "acs_endpoint", "https://contoso.example"),
    (ENDPOINT, "https://CONTOSO.Example", "acs_endpoint", "https://contoso.example"),
    (ENDPOINT, "https://localhost:7072/", "acs_endpoint", "https://localhost:7072"),
    (ENDPOINT, "https://127.0.0.1:7072", "acs_endpoint", "https://127.0.0.1:7072"),
    (ENDPOINT, "https://[::1]", "acs_endpoint", "https://[::1]"),
    (ENDPOINT, "https://[::1]:7072/", "acs_endpoint", "https://[::1]:7072"),
    (ENDPOINT, f"  {URL}\n", "acs_endpoint", URL),
    (ENDPOINT, "https://httpd.example", "acs_endpoint", "https://httpd.example"),
    (ACCESS_KEY, KEY, "acs_access_key", KEY),
    ("AZURE_CLIENT_ID", "a-b-c", "client_id", "a-b-c"),
    (RETENTION, "0", "deletion", DeletionPolicy(timedelta(0))),
    (RETENTION, "090", "deletion", DeletionPolicy(timedelta(days=90))),
    ("PURGE_PROTECTION", "True", "deletion", DeletionPolicy(purge_protection=True)),
    ("PURGE_PROTECTION", "FALSE", "deletion", DeletionPolicy()),
    ("CLEANUP_DELETES_PER_30S", "1", "cleanup", CleanupPolicy(deletes_per_30s=1)),
    ("CLEANUP_DELETES_PER_30S", "500", "cleanup", CleanupPolicy(deletes_per_30s=500)),
    ("CLEANUP_TIME_BUDGET_SECONDS", "10", "cleanup", CleanupPolicy(400, timedelta(seconds=10))),
    ("CLEANUP_TIME_BUDGET_SECONDS", "3600", "cleanup", CleanupPolicy(400, timedelta(hours=1))),
    ("CLEANUP_MAX_ATTEMPTS", "1", "cleanup", CleanupPolicy(max_attempts=1)),
    ("CLEANUP_MAX_ATTEMPTS", "1000", "cleanup", CleanupPolicy(max_attempts=1000)),
    ("USER_TOKEN_SCOPES", "voip, chat", "user_tokens", TokenPolicy(("chat", "voip"), 60, 240)),
    ("USER_TOKEN_SCOPES", "voip.join", "user_tokens", TokenPolicy(("voip.join",), 60, 240)),
    ("USER_TOKEN_DEFAULT_MINUTES", "240", "user_tokens", TokenPolicy(("chat", "voip"), 240, 240)),
    ("USER_TOKEN_MAX_MINUTES", "1440", "user_tokens", TokenPolicy(("chat", "voip"), 60, 1440)),
    ("SERVICE_TOKEN_DEFAULT_MINUTES", "60", "service_tokens", TokenPolicy(SCOPES, 60, 1440)),
    ("SERVICE_TOKEN_SCOPES", "chat", "service_tokens", TokenPolicy(("chat",), 1440, 1440)),
    # A lower maximum lowers the default.
    ("SERVICE_TOKEN_MAX_MINUTES", "90", "service_tokens", TokenPolicy(SCOPES, 90, 90)),
    ("REGISTERED_IDENTITIES_ONLY", "true", "registered_only", True),
    ("TEAMS_APP_ID", f"{{{GUID.upper()}}}", "teams_app_id", GUID),
    ("COMMUNICATION_SERVICES_RESOURCE_ID", GUID.upper(), "acs_resource_id", GUID),
    *(
        ("PROBLEM_BASE_URI", page, "problem_base_uri", page)
        for page in ("https://docs.example/problems", "http://localhost:7071/p", "/help", "/a?b=c")
    ),
    ("HTTPS_PROXY", PROXY, "proxy", PROXY),
    ("HTTPS_PROXY", "proxy.example:3128", "proxy", PROXY),
    ("NO_PROXY", "one.example", "no_proxy", "one.example"),
    ("SERVICE_AUTHENTICATION", "keys", "service_authentication", ServiceAuthentication.KEYS),
    ("SERVICE_AUTHENTICATION", "entra", "service_authentication", ServiceAuthentication.ENTRA),
    ("SIGN_IN_SCOPE", "Identity.Use", "sign_in", SignInPolicy(scope="Identity.Use")),
    ("USER_CALLS_PER_MINUTE", "1", "sign_in", SignInPolicy(calls_per_minute=1)),
    ("USER_CALLS_PER_MINUTE", "100000", "sign_in", SignInPolicy(calls_per_minute=100_000)),
    # The platform sets it. Anything but true means that sign-in is off.
    ("WEBSITE_AUTH_ENABLED", "True", "sign_in", SignInPolicy(enabled=True)),
    ("WEBSITE_AUTH_ENABLED", "true", "sign_in", SignInPolicy(enabled=True)),
    ("WEBSITE_AUTH_ENABLED", "False", "sign_in", SignInPolicy(enabled=False)),
    ("WEBSITE_AUTH_ENABLED", "1", "sign_in", SignInPolicy(enabled=False)),
    ("WEBSITE_AUTH_ENABLED", "yes", "sign_in", SignInPolicy(enabled=False)),
    ("PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY", "true", "telemetry", True),
]
# Settings without a value that is invalid on its own.
LENIENT = {CONNECTION_STRING, STORAGE, "WEBSITE_AUTH_ENABLED"}
BY_NAME = {setting.name: setting for setting in SETTINGS}


@pytest.mark.parametrize(("name", "text", "attribute", "value"), VALID_VALUES)
def test_valid_value(name: str, text: str, attribute: str, value: object) -> None:
    """Every valid spelling of a value becomes the form that the app uses."""
    assert getattr(valid(**{name: text}), attribute) == value


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in INVALID_VALUES.items() for text in texts]
)
def test_invalid_value(name: str, text: str) -> None:
    """The message is "NAME must be …", with the allowed values of the table."""
    assert read(**{name: text}).invalid == [f"{name} must be {BY_NAME[name].kind.allowed}."]


def test_every_setting_has_an_invalid_value() -> None:
    """The examples above cover every setting of the table that does not accept any text."""
    names = {setting.name for setting in SETTINGS if setting.kind.allowed != "text"}

    assert names - LENIENT == set(INVALID_VALUES)


def test_messages_say_what_to_do() -> None:
    """A few messages in full."""
    reading = read(PURGE_PROTECTION="on", CLEANUP_MAX_ATTEMPTS="0", TEAMS_APP_ID="1")

    assert reading.invalid == [
        "PURGE_PROTECTION must be true or false.",
        "CLEANUP_MAX_ATTEMPTS must be a whole number from 1 to 1000.",
        "TEAMS_APP_ID must be a GUID.",
    ]


def test_all_invalid_settings_are_reported_together() -> None:
    """One invalid value of each setting gives one message for each, and never the value."""
    values = {name: texts[0] for name, texts in INVALID_VALUES.items()}

    invalid = read_settings(values).invalid
    reported = [message.partition(" ")[0] for message in invalid]
    # With the URL of the tables, the name of the account is not read.
    assert sorted(reported) == sorted(INVALID_VALUES.keys() - {ACCOUNT_NAME})
    assert not re.search("secret|c2Vj", " ".join(invalid))


def test_default_above_the_maximum() -> None:
    """A default lifetime must not be more than the maximum."""
    reading = read(USER_TOKEN_DEFAULT_MINUTES="120", USER_TOKEN_MAX_MINUTES="60")

    assert reading.invalid == [
        "USER_TOKEN_DEFAULT_MINUTES must not be more than USER_TOKEN_MAX_MINUTES."
    ]


@pytest.mark.parametrize(
    ("invalid", "valid"),
    [
        ({"USER_TOKEN_MAX_MINUTES": "1441"}, {"USER_TOKEN_DEFAULT_MINUTES": "300"}),
        ({"SERVICE_TOKEN_DEFAULT_MINUTES": "1441"}, {"SERVICE_TOKEN_MAX_MINUTES": "90"}),
    ],
)
def test_valid_lifetime_is_not_reported(invalid: dict[str, str], valid: dict[str, str]) -> None:
    """Only the invalid one of the two lifetimes is reported."""
    reading = read(**invalid, **valid)

    assert reading.invalid == [
        f"{name} must be a whole number from 60 to 1440." for name in invalid
    ]


# Defaults


def test_defaults() -> None:
    """Three settings are enough."""
    assert valid() == Settings(
        acs_endpoint=URL,
        acs_resource_id="",
        acs_access_key="",
        client_id="",
        storage=Storage(table_service=TABLES),
        deletion=DeletionPolicy(timedelta(days=7), purge_protection=False),
        cleanup=CleanupPolicy(400, timedelta(seconds=240), 10),
        service_tokens=TokenPolicy(SCOPES, 1440, 1440),
        user_tokens=TokenPolicy(("chat", "voip"), 60, 240),
        registered_only=False,
        verifications_per_30s=333,
        service_authentication=ServiceAuthentication.KEYS,
        sign_in=SignInPolicy(enabled=False, scope="", calls_per_minute=30),
        teams_app_id="",
        problem_base_uri="/docs/problems.md",
        proxy="",
        no_proxy="",
        telemetry=False,
    )


@pytest.mark.parametrize(
    "setting",
    [setting for setting in SETTINGS if setting.default_text],
    ids=lambda setting: setting.name,
)
def test_documented_default(setting: Setting[object]) -> None:
    """A setting with its default is as if it were absent. The setting is read: others differ."""
    assert valid(**{setting.name: setting.default_text}) == valid()

    assert read(**{setting.name: "True"}) != read()


@pytest.mark.parametrize("empty", ["", "  ", "\n"])
def test_empty_setting_counts_as_absent(empty: str) -> None:
    """Every setting can be empty, except that a required one is then missing."""
    names = [name for name in BY_NAME if name not in MINIMAL]

    assert valid(**dict.fromkeys(names, empty)) == valid()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        (ENDPOINT, f"Or set {CONNECTION_STRING}."),
        (ACCOUNT_NAME, f"Or set {TABLE_SERVICE}."),
        (SCHEDULE, "Without it, nothing would ever be purged."),
    ],
)
@pytest.mark.parametrize("text", [None, " "])
def test_missing_setting(name: str, hint: str, text: str | None) -> None:
    """The message says what to set, and what else is possible."""
    allowed = BY_NAME[name].kind.allowed

    assert read(**{name: text}).invalid == [f"{name} is missing: set it to {allowed}. {hint}"]


# ACS


@pytest.mark.parametrize(
    "text",
    [
        f"endpoint={URL}/;accesskey={KEY}",
        f"accesskey={KEY};endpoint={URL}/",
        f"endpoint={URL}/;accesskey={KEY};",
        f"Endpoint={URL}/; AccessKey={KEY}",
    ],
    ids=["as in the portal", "in another order", "trailing semicolon", "in another case"],
)
def test_connection_string(text: str) -> None:
    """A connection string has the endpoint and the key."""
    reading = without_acs(**{CONNECTION_STRING: text})

    assert reading.invalid == []
    assert (reading.settings.acs_endpoint, reading.settings.acs_access_key) == (URL, KEY)


@pytest.mark.parametrize(
    "text", ["secret-text", f"endpoint={URL}", f"accesskey={KEY}", "endpoint=;accesskey=", ";;==;"]
)
def test_invalid_connection_string(text: str) -> None:
    """A connection string without endpoint or key is refused."""
    [message] = without_acs(**{CONNECTION_STRING: text}).invalid

    assert message == (
        f"{CONNECTION_STRING} must be a connection string: copy it from the Keys page of the ACS"
        " resource (endpoint=https://…;accesskey=…)."
    )


def test_invalid_parts_of_a_connection_string() -> None:
    """Each part is checked."""
    text = "endpoint=http://secret-host.example;accesskey=secret!"

    assert without_acs(**{CONNECTION_STRING: text}).invalid == [
        f"{CONNECTION_STRING}: endpoint must be {BY_NAME[ENDPOINT].kind.allowed}.",
        f"{CONNECTION_STRING}: accesskey must be {BY_NAME[ACCESS_KEY].kind.allowed}.",
    ]


def test_connection_string_excludes_endpoint_and_key() -> None:
    """Either the connection string is set or the others, even if it is invalid."""
    environ = {CONNECTION_STRING: "secret-text", ENDPOINT: URL, ACCESS_KEY: KEY}
    first, second, third = read(**environ).invalid

    assert first == f"{CONNECTION_STRING} and {ENDPOINT} are both set: remove one of them."
    assert second == f"{CONNECTION_STRING} and {ACCESS_KEY} are both set: remove one of them."
    assert third.startswith(f"{CONNECTION_STRING} must be a connection string")


def test_key_without_endpoint() -> None:
    """A key alone is not enough, and is checked nevertheless."""
    missing, invalid = without_acs(**{ACCESS_KEY: "no base64!"}).invalid

    assert missing.startswith(f"{ENDPOINT} is missing")
    assert invalid.startswith(f"{ACCESS_KEY} must be base64")


# Storage


@pytest.mark.parametrize(
    ("environ", "storage"),
    [
        ({TABLE_SERVICE: "https://localhost:7076/x/"}, Storage("", "https://localhost:7076/x")),
        ({ACCOUNT_NAME: "contoso", f"{STORAGE}__clientId": "a-b"}, Storage("", TABLES, "a-b")),
        (MINIMAL | {f"{STORAGE}__credential": "ManagedIdentity"}, Storage("", TABLES)),
        # The URL wins over the name, the connection string over both.
        ({ACCOUNT_NAME: "other", TABLE_SERVICE: TABLES}, Storage("", TABLES)),
        ({STORAGE: ACCOUNT}, Storage(SAME_ACCOUNT)),
        ({STORAGE: ACCOUNT, TABLE_SERVICE: "not read"}, Storage(SAME_ACCOUNT)),
    ],
)
def test_storage(environ: dict[str, str], storage: Storage) -> None:
    """The settings are those of the Functions host."""
    reading = without_storage(**environ)

    assert reading.invalid == []
    assert reading.settings.storage == storage


@pytest.mark.parametrize(
    ("environ", "client_id"),
    [
        ({ACCOUNT_NAME: "host"}, ""),
        ({ACCOUNT_NAME: "host", f"{STORAGE}__clientId": "a-b"}, "a-b"),
        (
            {ACCOUNT_NAME: "host", f"{STORAGE}__clientId": "a", "REGISTRY_STORAGE__clientId": "b"},
            "b",
        ),
        ({TABLE_SERVICE: "https://host.table.core.windows.net"}, ""),
        ({STORAGE: ACCOUNT}, ""),
    ],
)
def test_registry_in_an_account_of_its_own(environ: dict[str, str], client_id: str) -> None:
    """It is accessed with a managed identity, whatever the host uses for its own account."""
    reading = without_storage(**environ, **{REGISTRY: f"{TABLES}/"})

    assert reading.invalid == []
    assert reading.settings.storage == Storage("", TABLES, client_id)


def test_the_host_needs_an_account_too() -> None:
    """An account for the registry is not one for the host."""
    [message] = without_storage(**{REGISTRY: TABLES}).invalid

    assert message.startswith(f"{ACCOUNT_NAME} is missing: ")


def test_client_id_without_an_account_of_its_own() -> None:
    """The identity for another account is not used for the host's account."""
    assert valid(REGISTRY_STORAGE__clientId="b").storage == Storage("", TABLES)


@pytest.mark.parametrize(
    "text",
    [
        "UseDevelopmentStorage=true",
        "secret-text",
        "AccountName=contoso",
        "AccountName=contoso;AccountKey=no base64",
        "AccountKey=c2VjcmV0",
        "SharedAccessSignature=secret",
    ],
)
def test_invalid_storage_connection_string(text: str) -> None:
    """A connection string must name the account, and have a key or a signature."""
    [message] = read(**{STORAGE: text}).invalid

    assert message == (
        f"{STORAGE} must be the connection string of a storage account: copy it from the account,"
        f" or remove it and set {ACCOUNT_NAME}."
    )


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("AccountName=contoso;AccountKey=a2V5", TABLES),
        ("AccountName=a;AccountKey=a2V5;EndpointSuffix=us.example", "https://a.table.us.example"),
        ("AccountName=a;AccountKey=a2V5;TableEndpoint=https://t.example/", "https://t.example/"),
        ("TableEndpoint=https://t.example/;SharedAccessSignature=sv=1", "https://t.example/"),
    ],
)
async def test_url_of_the_tables(text: str, address: str) -> None:
    """The URL is known for every kind of connection string, which the SDK accepts as well."""
    found = valid(**{STORAGE: text}).storage
    assert found.address == address
    assert TableRegistry.from_connection_string(found.connection_string)


PARTS = st.lists(
    st.tuples(
        st.sampled_from(["endpoint", "accesskey", "AccountName", "AccountKey", "TableEndpoint"]),
        st.one_of(st.text(max_size=30), st.sampled_from(["https://x.example", "a2V5", "a"])),
    ),
    max_size=5,
)


@pytest.mark.parametrize(
    "text",
    [
        ";AccountName=a;;AccountKey=a2V5;",
        "AccountName=a;AccountKey=a2V5;TableEndpoint=",
        "AccountName=b;accountname=a;AccountKey=a2V5",
        " AccountName = a ; AccountKey = a2V5 ; EndpointSuffix=core.windows.net",
    ],
)
async def test_storage_connection_string_as_the_host_accepts_it(text: str) -> None:
    """Empty parts, repeated names and spaces do no harm. The SDK alone would refuse them."""
    found = valid(**{STORAGE: text}).storage

    assert found.address == "https://a.table.core.windows.net"
    assert TableRegistry.from_connection_string(found.connection_string)


NAMES = ["", "AccountName", "EndpointSuffix", "TableEndpoint", "SharedAccessSignature"]


@given(
    st.lists(
        st.tuples(st.one_of(st.sampled_from(NAMES), st.text(max_size=5)), st.text(max_size=9)),
        max_size=4,
    )
)
async def test_the_sdk_accepts_every_valid_connection_string(parts: list[tuple[str, str]]) -> None:
    """A client can be created with what the settings accept."""
    text = ";".join(map("=".join, [*parts, ("AccountName", "a"), ("AccountKey", "a2V5")]))
    reading = read(**{STORAGE: text})

    if not reading.invalid:
        assert TableRegistry.from_connection_string(reading.settings.storage.connection_string)


@given(
    st.sampled_from([CONNECTION_STRING, STORAGE]),
    PARTS.map(lambda parts: ";".join("=".join(part) for part in parts)),
)
def test_any_connection_string(name: str, text: str) -> None:
    """Any text is accepted, or refused without being repeated."""
    reading = without_acs(**{name: text}) if name == CONNECTION_STRING else read(**{name: text})

    assert len(text) < 12 or text not in " ".join(reading.invalid)


# Names


@pytest.mark.parametrize(
    ("name", "text", "attribute"),
    [
        ("AzureWebJobsStorage__accountname", "other", "storage"),
        ("purge_protection", "true", "deletion"),
        ("Website_Auth_Enabled", "true", "sign_in"),
        ("azure_client_id", "a-b-c", "client_id"),
        ("Https_Proxy", PROXY, "proxy"),
    ],
)
def test_case_of_a_name_is_ignored(name: str, text: str, attribute: str) -> None:
    """The Functions host ignores it as well."""
    [proper] = [each for each in BY_NAME if each.lower() == name.lower()]
    found = valid(**{proper: None, name: text})

    assert getattr(found, attribute) == getattr(valid(**{proper: text}), attribute)
    assert found != valid()


def test_two_spellings_with_different_values() -> None:
    """It is not clear which one is meant, so the setting is invalid. No value is repeated."""
    [message] = read(azurewebjobsstorage__ACCOUNTNAME="secret").invalid

    assert message == (
        f"{ACCOUNT_NAME} and azurewebjobsstorage__ACCOUNTNAME have different values: keep"
        f" {ACCOUNT_NAME} only."
    )


@pytest.mark.parametrize("name", ["SERVICE_AUTHENTICATION", "WEBSITE_AUTH_ENABLED"])
@pytest.mark.parametrize("order", [1, -1])
def test_two_spellings_open_nothing(name: str, order: int) -> None:
    """A setting that is not clear has its default: keys are required, and no header is trusted."""
    value = {"SERVICE_AUTHENTICATION": "entra", "WEBSITE_AUTH_ENABLED": "True"}[name]
    spellings = [(name, value), (name.lower(), "other")]
    for values in (spellings, [(name, "other"), (name.lower(), value)]):
        settings = read(**dict(values[::order])).settings

        assert settings.service_authentication is ServiceAuthentication.KEYS
        assert not settings.sign_in.enabled


@pytest.mark.parametrize("text", ["contoso", " contoso ", ""])
def test_two_spellings_with_one_value(text: str) -> None:
    """The same value twice is valid, and so is an empty one."""
    assert valid(azurewebjobsstorage__ACCOUNTNAME=text) == valid()


@pytest.mark.parametrize("order", [1, -1])
def test_proxy_in_lower_case_wins(order: int) -> None:
    """For the proxy variables two values are valid, as in curl."""
    proxies = [("HTTPS_PROXY", "http://other.example"), ("https_proxy", PROXY)]
    exceptions = [("NO_PROXY", "other.example"), ("no_proxy", "one.example")]
    settings = valid(**dict(proxies[::order]), **dict(exceptions[::order]))

    assert (settings.proxy, settings.no_proxy) == (PROXY, "one.example")


def test_name_that_a_library_reads_must_be_exact() -> None:
    """azure-identity reads AZURE_TOKEN_CREDENTIALS only in upper case."""
    name = "AZURE_TOKEN_CREDENTIALS"

    assert read(azure_token_credentials="prod").invalid == [
        f"azure_token_credentials is not read in this spelling: name it {name}."
    ]
    assert valid(**{name: "prod", name.lower(): "prod"})


MISSPELLED = {
    "PURGE_PROTECTON": "PURGE_PROTECTION",
    "PURGEPROTECTION": "PURGE_PROTECTION",
    "purge_protecttion": "PURGE_PROTECTION",
    "DELETED_IDENTITY_RETENTION_DAY": RETENTION,
    "CLEANUP_DELETE_PER_30S": "CLEANUP_DELETES_PER_30S",
    "USER_TOKEN_SCOPE": "USER_TOKEN_SCOPES",
    "SERVICE_TOKENS_MAX_MINUTES": "SERVICE_TOKEN_MAX_MINUTES",
    "TEAMS_APPID": "TEAMS_APP_ID",
    "REGISTRY_STORAGE__tableServiceUrl": REGISTRY,
    "PROBLEM_BASE_URL": "PROBLEM_BASE_URI",
    "AZURE_TOKEN_CREDENTIAL": "AZURE_TOKEN_CREDENTIALS",
    "AzureWebJobStorage__clientId": f"{STORAGE}__clientId",
    "AzureWebJobsStorage_clientId": f"{STORAGE}__clientId",
    "AzureWebJobsStorage:clientId": f"{STORAGE}__clientId",
}


@pytest.mark.parametrize(("name", "known"), MISSPELLED.items())
def test_misspelled_name(name: str, known: str) -> None:
    """A name that is almost that of an absent setting is noticed. The settings stay valid."""
    reading = read(**{name: "x"})

    assert (reading.invalid, reading.misspelled) == ([], {name: known})


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("COMMUNICATION_SERVICE_ENDPOINT", ENDPOINT),
        ("AzureWebJobsStorage__acountName", ACCOUNT_NAME),
        ("CLEANUP_SHEDULE", SCHEDULE),
    ],
)
def test_misspelled_required_name(name: str, known: str) -> None:
    """The message about the missing setting names the misspelled one."""
    [message] = read(**{known: None, name: "x"}).invalid

    assert message.startswith(f"{known} is missing: ")
    assert message.endswith(f" {name} looks like a misspelling of it.")


def test_name_similar_to_a_setting_that_is_present() -> None:
    """A present setting was not misspelled."""
    assert valid(PURGE_PROTECTION="true", PURGE_PROTECTON="x") == valid(PURGE_PROTECTION="true")


# Variables that Azure, the Functions host, its images and shells set.
PLATFORM = """
    APPSETTING_WEBSITE_AUTH_ENABLED ASPNETCORE_URLS AZURE_CLIENT_SECRET
    AZURE_FUNCTIONS_ENVIRONMENT AZURE_TENANT_ID
    AzureFunctionsJobHost__Logging__Console__IsEnabled AzureWebJobsDashboard
    AzureWebJobsFeatureFlags AzureWebJobsScriptRoot AzureWebJobsSecretStorageType
    AzureWebJobsStorage__accountKey AzureWebJobsStorage__clientSecret
    AzureWebJobsStorage__fileServiceUri AzureWebJobsStorage__managedIdentityResourceId
    AzureWebJobsStorage__serviceUri AzureWebJobsStorage__tenantId CONTAINER_NAME
    DEPLOYMENT_STORAGE_CONNECTION_STRING DOTNET_RUNNING_IN_CONTAINER ENABLE_ORYX_BUILD
    FUNCTIONS_EXTENSION_VERSION FUNCTIONS_WORKER_PROCESS_COUNT
    FUNCTIONS_WORKER_RUNTIME_VERSION HOME HOSTNAME HTTP_PROXY http_proxy ALL_PROXY FTP_PROXY
    IDENTITY_ENDPOINT IDENTITY_HEADER LANG MSI_ENDPOINT MSI_SECRET PATH PWD PYTHONPATH
    PYTHON_ENABLE_WORKER_EXTENSIONS PYTHON_ISOLATE_WORKER_DEPENDENCIES
    PYTHON_THREADPOOL_THREAD_COUNT PYTHON_VERSION REGION_NAME
    SCALE_CONTROLLER_LOGGING_ENABLED SCM_DO_BUILD_DURING_DEPLOYMENT SSL_CERT_FILE
    WEBSITE_AUTH_CLIENT_ID WEBSITE_AUTH_DEFAULT_PROVIDER WEBSITE_AUTH_ENABLE
    WEBSITE_AUTH_ENCRYPTION_KEY WEBSITE_CONTENTAZUREFILECONNECTIONSTRING
    WEBSITE_CONTENTSHARE WEBSITE_HOSTNAME WEBSITE_INSTANCE_ID WEBSITE_OWNER_NAME
    WEBSITE_RUN_FROM_PACKAGE WEBSITE_SITE_NAME WEBSITE_SLOT_NAME WEBSITE_TIME_ZONE
""".split()  # noqa: SIM905 -- a list would have a line for each name


def test_other_variables_are_not_misspelled() -> None:
    """Neither the platform's variables nor unrelated ones look like a setting."""
    assert valid(**dict.fromkeys(PLATFORM, "x")) == valid()


def test_settings_are_named_once() -> None:
    """The table has each setting in one chapter, and no two names differ only in case."""
    names = [setting.name.lower() for chapter in CHAPTERS.values() for setting in chapter]

    assert len(names) == len(set(names))


# The credential


def test_credentials_are_those_of_azure_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """The allowed names are those that DefaultAzureCredential accepts, in any case."""
    candidates = {name for name in vars(azure.identity.aio) if name.endswith("Credential")}
    accepted = set()
    for name in candidates | {"prod", "dev"}:
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", name.upper())
        try:
            DefaultAzureCredential()
        except ValueError:
            continue
        accepted.add(name)

    assert accepted == set(CREDENTIALS)
    assert all(valid(AZURE_TOKEN_CREDENTIALS=name.upper()) for name in accepted)


# The proxy


@pytest.mark.parametrize(
    ("url", "no_proxy", "direct"),
    [
        ("https://one.example", "", False),
        ("https://one.example", "two.example", False),
        ("https://one.example", "one.example", True),
        ("https://one.example", " two.example ,, .One.example,", True),
        ("https://one.example:444", "one.example", True),
        ("https://one.example:444", "one.example:444", True),
        ("https://one.example:444", "one.example:443", False),
        ("https://a.one.example", "one.example", True),
        ("https://bone.example", "one.example", False),
        ("https://One.Example", "one.example", True),
        ("https://one.example/path", "*", True),
    ],
)
def test_proxy_bypass(url: str, no_proxy: str, direct: bool) -> None:
    """NO_PROXY names hosts with their subdomains, on one port or on all, or all hosts."""
    settings = valid(HTTPS_PROXY=PROXY, NO_PROXY=no_proxy)

    assert settings.proxy_for(url) == ("" if direct else PROXY)


def test_no_proxy_at_all() -> None:
    """Without HTTPS_PROXY everything is reached directly."""
    assert valid().proxy_for("https://one.example") == ""


def test_secrets_are_not_in_the_representation() -> None:
    """Settings can be printed: keys and the password of a proxy are left out."""
    settings = valid(
        **{ACCESS_KEY: KEY, STORAGE: ACCOUNT, "HTTPS_PROXY": "http://user:secret@proxy.example"}
    )

    assert not re.search("secret|c2Vj", repr(settings))


# Schedules

NO_SCHEDULES = [
    "", "* * * * *", "* * * * * * *", "60 * * * * *", "* 60 * * * *", "* * 24 * * *", "* * * 0 * *",
    "* * * 32 * *", "* * * * 0 *", "* * * * 13 *", "* * * * * 7", "5-1 * * * * *", "*/0 * * * * *",
    "1- * * * * *", ", * * * * *", "mon * * * * *", "* * * * mon *", "-1 * * * * *",
    "\N{FULLWIDTH DIGIT SEVEN} * * * * *", "0059999 * * * * *", "0 0059999 * * * *",
    "0 0 024 * * *",
    "1-0059999 * * * * *", "*/60 * * * * *", "0 */0059 * * * *", "0 0 */24 * * *", "0 0 0 */32 * *",
    "0 0 0 0000000000032 * *",
]  # fmt: skip
# No month that they name has the day.
NEVER = [
    "0 0 0 31 2 *", "0 0 0 30 2 *", "0 0 0 30-31 feb *", "0 0 0 31 4 *", "0 0 0 31 6,9,11 *",
    "0 0 0 31 2-2 mon",
]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "0 */5 * * * *",
        "59 59 23 31 12 6",
        "0 0 0 1 1 0",
        "0-29/10 1,2,3 8-18 * jan-dec mon-fri",
        "0 0 12 * JANUARY Sunday",
        "0 0 0 29 2 *",
        "0 0 0 29 2 mon",
        "0 0 0 31 2,3 *",
        "0 0 0 30 4 *",
        "00 005 0023 * * *",
        "*/59 */59 */23 */31 */12 */6",
    ],
)
def test_schedule(text: str) -> None:
    """Schedules that the host accepts."""
    assert ncrontab.is_valid(text)


@pytest.mark.parametrize("text", NO_SCHEDULES + NEVER)
def test_invalid_schedule(text: str) -> None:
    """Schedules that the host refuses or never runs. With one, nothing would ever be purged."""
    assert not ncrontab.is_valid(text)


NUMBERS = st.integers(0, 59).map(str)
FIELDS = st.lists(st.one_of(st.just("*"), NUMBERS, st.text(max_size=6)), max_size=8)


@given(FIELDS.map(" ".join))
def test_any_schedule(text: str) -> None:
    """Any text is valid or not, and only six fields are valid."""
    assert not ncrontab.is_valid(text) or len(text.split()) == 6


@pytest.mark.parametrize(
    ("schedule", "moment", "expected"),
    [
        ("0 */5 * * * *", "2030-01-01 12:00:00", "2030-01-01 12:05:00"),
        ("0 */5 * * * *", "2030-01-01 12:04:59.9", "2030-01-01 12:05:00"),
        ("0 */5 * * * *", "2030-12-31 23:57:00", "2031-01-01 00:00:00"),
        ("* * * * * *", "2030-01-01 12:00:00.5", "2030-01-01 12:00:01"),
        ("5/20 * * * * *", "2030-01-01 12:00:26", "2030-01-01 12:00:45"),
        ("30 15-45/10 8,20 * * *", "2030-01-01 08:45:30", "2030-01-01 20:15:30"),
        ("0 0 3 * * *", "2030-01-01 12:00:00", "2030-01-02 03:00:00"),
        ("0 30 9 * * mon-fri", "2030-01-04 09:30:00", "2030-01-07 09:30:00"),
        ("0 0 0 * * 0", "2030-01-01 00:00:00", "2030-01-06 00:00:00"),
        ("0 0 0 1 JAN,jul *", "2030-01-01 00:00:00", "2030-07-01 00:00:00"),
        ("0 0 0 31 * *", "2030-01-31 00:00:00", "2030-03-31 00:00:00"),
        ("0 0 0 29 2 *", "2030-01-01 00:00:00", "2032-02-29 00:00:00"),
        ("0 0 0 29 2 *", "2097-01-01 00:00:00", "2104-02-29 00:00:00"),
        ("0 0 0 13 * fri", "2030-01-01 00:00:00", "2030-09-13 00:00:00"),
        ("0 0 0 29 2 tue", "2084-02-29 00:00:00", "2124-02-29 00:00:00"),
    ],
)
def test_next_run(schedule: str, moment: str, expected: str) -> None:
    """When the host runs a timer next. A day must match both the day and the weekday."""
    found = ncrontab.parse(schedule).next_after(datetime.fromisoformat(moment))

    assert found == datetime.fromisoformat(expected)
