"""Settings are checked all together, and every fault comes with its remedy."""

import re

import pytest

from identity_service.errors import NotConfigured
from identity_service.model import CleanupPolicy, DeletionPolicy
from identity_service.settings import (
    ACCESS_KEY,
    CONNECTION_STRING,
    ENDPOINT,
    MAX_ATTEMPTS,
    PACE,
    PROBLEM_BASE,
    PURGE_PROTECTION,
    RETENTION,
    SCHEDULE,
    STORAGE,
    TIME_BUDGET,
    Settings,
    Storage,
)

# What the rest of the app needs, so that the facts below are about one thing each.
REST = {STORAGE + "__accountName": "contoso", SCHEDULE: "0 */5 * * * *"}

URL = "https://contoso.communication.azure.com"
KEY = "c2VjcmV0LWtleQ=="

KEY_FAULT = "the access key is not base64: copy it anew from the Keys page."
NO_CONNECTION_STRING = (
    f"{CONNECTION_STRING} is not a connection string: copy it from the resource's Keys page;"
    " it reads endpoint=https://…;accesskey=…"
)

NORMALISED = {
    "as it is": (URL, URL),
    "trailing slash": (f"{URL}/", URL),
    "upper-case scheme": ("HTTPS://contoso.example", "https://contoso.example"),
    "upper-case host": ("https://CONTOSO.Example", "https://contoso.example"),
    "port": ("https://localhost:7072", "https://localhost:7072"),
    "port and slash": ("https://localhost:7072/", "https://localhost:7072"),
    "IPv4": ("https://127.0.0.1:7072", "https://127.0.0.1:7072"),
    "IPv6": ("https://[::1]", "https://[::1]"),
    "IPv6 and port": ("https://[::1]:7072/", "https://[::1]:7072"),
    "spaces around": (f"  {URL}\n", URL),
    "begins with http": ("https://httpd.example", "https://httpd.example"),
}

REFUSED = {
    "http": "http://secret-host.example",
    "another scheme": "ftp://secret-host.example",
    "path": "https://secret-host.example/path",
    "query": "https://secret-host.example?a=b",
    "fragment": "https://secret-host.example#a",
    "user": "https://user@secret-host.example",
    "user and password": "https://user:secret-word@secret-host.example",
    "bare host": "secret-host.example",
    "bare host and port": "secret-host.example:443",
    "bare host that begins with http": "httpd.example",
    "scheme alone": "https://",
    "port alone": "https://:7072",
    "no slashes": "https:secret-host.example",
    "three slashes": "https:///secret-host.example",
    "space within": "https://secret host.example",
    "backslash": "https://secret-host.example\\path",
    "port of letters": "https://secret-host.example:secret",
    "port too high": "https://secret-host.example:65536",
    "port zero": "https://secret-host.example:0",
    "port below zero": "https://secret-host.example:-1",
    "two ports": "https://secret-host.example:1:2",
    "unclosed bracket": "https://[::1",
    "text": "the endpoint of our resource",
}

NOT_BASE64 = {
    "text": "not base64 at all!",
    "cut off": "c2VjcmV0LWtleQ=",
    "one character": "c",
    "padding alone": "====",
    "in URLs' alphabet": "c2Vj_-==",
    "letters of another script": "ключ",
    "emoji": "😀",
}

NOT_A_CONNECTION_STRING = {
    "text": "secret-text",
    "endpoint alone": f"endpoint={URL}",
    "key alone": f"accesskey={KEY}",
    "empty parts": "endpoint=;accesskey=",
    "separators": ";;==;",
}

# Environment, and the beginning of each fault.
FAULTS = {
    "none at all": (
        {},
        [f"{ENDPOINT} is missing: set it to the endpoint of the ACS resource, or set"],
    ),
    "key without endpoint": (
        {ACCESS_KEY: KEY},
        [f"{ENDPOINT} is missing: set it to the endpoint of the ACS resource, or set"],
    ),
    "connection string and endpoint": (
        {CONNECTION_STRING: f"endpoint={URL};accesskey={KEY}", ENDPOINT: URL},
        [f"{CONNECTION_STRING} and {ENDPOINT} are both set: remove one of them."],
    ),
    "connection string and key": (
        {CONNECTION_STRING: f"endpoint={URL};accesskey={KEY}", ACCESS_KEY: KEY},
        [f"{CONNECTION_STRING} and {ACCESS_KEY} are both set: remove one of them."],
    ),
    "all three": (
        {CONNECTION_STRING: f"endpoint={URL};accesskey={KEY}", ENDPOINT: URL, ACCESS_KEY: KEY},
        [
            f"{CONNECTION_STRING} and {ENDPOINT} are both set: remove one of them.",
            f"{CONNECTION_STRING} and {ACCESS_KEY} are both set: remove one of them.",
        ],
    ),
    "all three, the connection string being none": (
        {CONNECTION_STRING: "secret-text", ENDPOINT: URL, ACCESS_KEY: KEY},
        [
            f"{CONNECTION_STRING} and {ENDPOINT} are both set: remove one of them.",
            f"{CONNECTION_STRING} and {ACCESS_KEY} are both set: remove one of them.",
            NO_CONNECTION_STRING,
        ],
    ),
    "bad endpoint and bad key": (
        {ENDPOINT: "http://secret-host.example", ACCESS_KEY: "not base64!"},
        [f"{ENDPOINT}: the endpoint must be https://", f"{ACCESS_KEY}: {KEY_FAULT}"],
    ),
    "bad key without endpoint": (
        {ACCESS_KEY: "not base64!"},
        [f"{ENDPOINT} is missing", f"{ACCESS_KEY}: {KEY_FAULT}"],
    ),
    "nothing of the rest": (
        {ENDPOINT: URL, STORAGE + "__accountName": "", SCHEDULE: ""},
        [f"{STORAGE}__accountName or {STORAGE}__tableServiceUri is missing", f"{SCHEDULE} is miss"],
    ),
    "everything": (
        {ENDPOINT: "secret", STORAGE: "secret", SCHEDULE: "secret", RETENTION: "secret"},
        [f"{ENDPOINT}: ", f"{STORAGE} is not the", f"{SCHEDULE} is missing", f"{RETENTION} must"],
    ),
    "bad parts of a connection string": (
        {CONNECTION_STRING: "endpoint=http://secret-host.example;accesskey=secret!"},
        [
            f"{CONNECTION_STRING}: the endpoint must be https://",
            f"{CONNECTION_STRING}: {KEY_FAULT}",
        ],
    ),
}

ACCOUNT = "DefaultEndpointsProtocol=https;AccountName=contoso;AccountKey=c2VjcmV0;EndpointSuffix=x"
TABLES = "https://contoso.table.core.windows.net"

STORAGES = {
    "account name": ({f"{STORAGE}__accountName": "contoso"}, Storage(table_service=TABLES)),
    "address of the tables": (
        {f"{STORAGE}__tableServiceUri": "https://localhost:7076/contoso/"},
        Storage(table_service="https://localhost:7076/contoso"),
    ),
    "identity of its own": (
        {f"{STORAGE}__credential": "managedidentity", f"{STORAGE}__clientId": "a-b-c"},
        Storage(table_service=TABLES, client_id="a-b-c"),
    ),
    "connection string wins": ({STORAGE: ACCOUNT}, Storage(connection_string=ACCOUNT)),
}

BAD_STORAGES = {
    "nothing": {f"{STORAGE}__accountName": ""},
    "http": {f"{STORAGE}__tableServiceUri": "http://contoso.example"},
    "scheme alone": {f"{STORAGE}__tableServiceUri": "https://"},
    "space in the address": {f"{STORAGE}__tableServiceUri": "https://contoso .example"},
    "unclosed bracket": {f"{STORAGE}__tableServiceUri": "https://[::1"},
    "space in the name": {f"{STORAGE}__accountName": "con toso"},
    "unknown credential": {f"{STORAGE}__credential": "workloadidentity"},
    "development storage": {STORAGE: "UseDevelopmentStorage=true"},
    "text": {STORAGE: "contoso"},
    "half a connection string": {STORAGE: "AccountName=contoso"},
}

# Setting, its lowest and its highest number.
NUMBERS = [
    (RETENTION, 0, 90),
    (PACE, 1, 500),
    (TIME_BUDGET, 10, 3600),
    (MAX_ATTEMPTS, 1, 1000),
]

NO_NUMBERS = [
    "ten",
    "7.0",
    "-1",
    "1e1",
    "\N{FULLWIDTH DIGIT SEVEN}",
    "1_0",
    "9" * 5_000,
    "0" * 9 + "9999",
]


def faults_of(environ: dict[str, str]) -> str:
    """The message about settings that are at fault."""
    with pytest.raises(NotConfigured) as caught:
        Settings.from_env(REST | environ)
    return caught.value.detail


def test_endpoint_alone() -> None:
    """An endpoint alone means: the app's own identity."""
    environ = {ENDPOINT: URL}

    settings = Settings.from_env(REST | environ)

    assert (settings.acs_endpoint, settings.acs_access_key) == (URL, None)


def test_endpoint_and_key() -> None:
    """An endpoint and a key mean: that key."""
    environ = {ENDPOINT: URL, ACCESS_KEY: KEY}

    settings = Settings.from_env(REST | environ)

    assert (settings.acs_endpoint, settings.acs_access_key) == (URL, KEY)


@pytest.mark.parametrize(
    "text",
    [
        f"endpoint={URL}/;accesskey={KEY}",
        f"accesskey={KEY};endpoint={URL}/",
        f"endpoint={URL}/;accesskey={KEY};",
        f"Endpoint={URL}/; AccessKey={KEY}",
    ],
    ids=["as the portal shows it", "the other way round", "trailing semicolon", "other case"],
)
def test_connection_string(text: str) -> None:
    """A connection string means: the endpoint and the key in it."""
    environ = {CONNECTION_STRING: text}

    settings = Settings.from_env(REST | environ)

    assert (settings.acs_endpoint, settings.acs_access_key) == (URL, KEY)


@pytest.mark.parametrize("empty", ["", "  ", "\n"])
def test_empty_counts_as_unset(empty: str) -> None:
    """A setting that is there but empty is not there."""
    environ = {ENDPOINT: URL, ACCESS_KEY: empty, CONNECTION_STRING: empty}

    settings = Settings.from_env(REST | environ)

    assert (settings.acs_endpoint, settings.acs_access_key) == (URL, None)


@pytest.mark.parametrize(("text", "endpoint"), list(NORMALISED.values()), ids=list(NORMALISED))
def test_normalises_the_endpoint(text: str, endpoint: str) -> None:
    """Every good spelling of an endpoint becomes the one that the SDK signs correctly."""
    environ = {ENDPOINT: text}

    settings = Settings.from_env(REST | environ)

    assert settings.acs_endpoint == endpoint


@pytest.mark.parametrize("text", list(REFUSED.values()), ids=list(REFUSED))
def test_refuses_an_endpoint(text: str) -> None:
    """An endpoint that is not https with a bare host and port is a fault."""
    environ = {ENDPOINT: text}

    faults = faults_of(environ)

    assert faults == (
        f"{ENDPOINT}: the endpoint must be https:// with a bare host and, if need be, a port,"
        " such as https://contoso.communication.azure.com."
    )


@pytest.mark.parametrize("key", list(NOT_BASE64.values()), ids=list(NOT_BASE64))
def test_refuses_a_key(key: str) -> None:
    """A key that is not base64 is a fault."""
    environ = {ENDPOINT: URL, ACCESS_KEY: key}

    faults = faults_of(environ)

    assert faults == f"{ACCESS_KEY}: {KEY_FAULT}"


@pytest.mark.parametrize(
    "text", list(NOT_A_CONNECTION_STRING.values()), ids=list(NOT_A_CONNECTION_STRING)
)
def test_refuses_a_connection_string(text: str) -> None:
    """A connection string that lacks its endpoint or its key is a fault."""
    environ = {CONNECTION_STRING: text}

    faults = faults_of(environ)

    assert faults == NO_CONNECTION_STRING


@pytest.mark.parametrize(("environ", "expected"), list(FAULTS.values()), ids=list(FAULTS))
def test_reports_every_fault_at_once(environ: dict[str, str], expected: list[str]) -> None:
    """One message names every fault, each with its remedy."""
    faults = faults_of(environ)

    assert [fault for fault in expected if fault not in faults] == []


@pytest.mark.parametrize(
    "environ",
    [
        {ENDPOINT: "https://user:secret-word@contoso.example"},
        {ENDPOINT: "https://contoso.example?code=secret-word"},
        {ENDPOINT: "https://contoso.example:secret-word"},
        {ENDPOINT: "http://secret-host.example", ACCESS_KEY: "secret-key!"},
        {ACCESS_KEY: "c2VjcmV0LWtleQ=="},
        {STORAGE: "secret-text"},
        {STORAGE + "__credential": "secret-word"},
        {STORAGE + "__tableServiceUri": "http://secret-host.example"},
        {RETENTION: "secret-word", PURGE_PROTECTION: "secret-word", SCHEDULE: "secret-word"},
        {CONNECTION_STRING: "endpoint=http://secret-host.example;accesskey=secret-key!"},
        {CONNECTION_STRING: "secret-text", ENDPOINT: URL, ACCESS_KEY: "secret-key!"},
    ],
)
def test_never_tells_a_value(environ: dict[str, str]) -> None:
    """No fault repeats a value, for that may be a secret in the wrong place."""
    faults = faults_of(environ)

    assert not re.search("secret|c2Vj", faults)


def test_key_stays_out_of_the_representation() -> None:
    """Settings can be printed without the key."""
    settings = Settings(acs_endpoint=URL, acs_access_key=KEY)

    text = repr(settings)

    assert KEY not in text


@pytest.mark.parametrize(("environ", "storage"), list(STORAGES.values()), ids=list(STORAGES))
def test_storage(environ: dict[str, str], storage: Storage) -> None:
    """Storage is found by the Functions conventions for AzureWebJobsStorage."""
    environ = {ENDPOINT: URL} | environ

    settings = Settings.from_env(REST | environ)

    assert settings.storage == storage


@pytest.mark.parametrize("environ", list(BAD_STORAGES.values()), ids=list(BAD_STORAGES))
def test_refuses_a_storage(environ: dict[str, str]) -> None:
    """A storage account that cannot be one is a fault."""
    faults = faults_of({ENDPOINT: URL} | environ)

    assert faults.startswith(STORAGE)


def test_storage_s_key_stays_out_of_the_representation() -> None:
    """Settings can be printed without the storage account's key."""
    settings = Settings.from_env(REST | {ENDPOINT: URL, STORAGE: ACCOUNT})

    text = repr(settings)

    assert "c2VjcmV0" not in text


def test_defaults() -> None:
    """Deletion and cleanup work without a word in the settings, but for the schedule."""
    environ = {ENDPOINT: URL}

    settings = Settings.from_env(REST | environ)

    assert (settings.deletion, settings.cleanup) == (DeletionPolicy(), CleanupPolicy())


@pytest.mark.parametrize(("name", "lowest", "highest"), NUMBERS)
def test_takes_the_limits_of_a_number(name: str, lowest: int, highest: int) -> None:
    """The lowest and the highest number are taken."""
    environs = [REST | {ENDPOINT: URL, name: str(number)} for number in (lowest, highest)]

    endpoints = [Settings.from_env(environ).acs_endpoint for environ in environs]

    assert endpoints == [URL, URL]


@pytest.mark.parametrize(("name", "lowest", "highest"), NUMBERS)
@pytest.mark.parametrize("beyond", [True, False], ids=["beyond", "below"])
def test_refuses_a_number(name: str, lowest: int, highest: int, beyond: bool) -> None:
    """A number outside its limits is a fault that tells them."""
    number = highest + 1 if beyond else lowest - 1

    faults = faults_of({ENDPOINT: URL, name: str(number)})

    assert faults == f"{name} must be a whole number from {lowest} to {highest}."


@pytest.mark.parametrize("text", NO_NUMBERS, ids=lambda text: ascii(text[:12]))
def test_refuses_what_is_no_number(text: str) -> None:
    """A number is digits and within its limits, however it is written."""
    faults = faults_of({ENDPOINT: URL, RETENTION: text})

    assert faults == f"{RETENTION} must be a whole number from 0 to 90."


@pytest.mark.parametrize(("text", "protected"), [("true", True), ("False", False), ("", False)])
def test_purge_protection(text: str, protected: bool) -> None:
    """Purge protection is off until it is switched on."""
    environ = {ENDPOINT: URL, PURGE_PROTECTION: text}

    settings = Settings.from_env(REST | environ)

    assert settings.deletion.purge_protection is protected


@pytest.mark.parametrize("text", ["yes", "1", "on"])
def test_refuses_another_word_for_true(text: str) -> None:
    """Purge protection is true or false, and nothing that one would have to guess."""
    faults = faults_of({ENDPOINT: URL, PURGE_PROTECTION: text})

    assert faults == f"{PURGE_PROTECTION} must be true or false."


@pytest.mark.parametrize("text", ["", "every day", "*/5 * * * *", "0 */5 * * *", "60 * * * * *"])
def test_refuses_a_schedule(text: str) -> None:
    """A schedule that the host would not take is a fault: nothing would ever be purged."""
    faults = faults_of({ENDPOINT: URL, SCHEDULE: text})

    assert faults.startswith(f"{SCHEDULE} is missing or no schedule of six fields")


@pytest.mark.parametrize(
    "page",
    ["https://docs.example/problems", "http://localhost:7071/docs/problems.md", "/help", "/a?b=c"],
)
def test_where_problems_are_explained(page: str) -> None:
    """The address of the page of problems is taken as it stands."""
    settings = Settings.from_env({ENDPOINT: URL, **REST, PROBLEM_BASE: page})

    assert settings.problem_base_uri == page


@pytest.mark.parametrize("page", ["problems.md", "https://docs.example/#there", "/a b", "/ä", "//"])
def test_not_the_address_of_a_page(page: str) -> None:
    """What is no address, or has a fragment already, is a fault; and no value is told."""
    with pytest.raises(NotConfigured, match=rf"^{PROBLEM_BASE} must be ") as refused:
        Settings.from_env({ENDPOINT: URL, **REST, PROBLEM_BASE: page})

    assert page not in refused.value.detail.replace("https://docs.example/problems", "")
