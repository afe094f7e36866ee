"""The composition root: set-up of the process, and parts that are created once, when needed."""

import asyncio
import logging
from collections.abc import Iterator
from functools import cached_property
from operator import attrgetter
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError

from identity_service.azure.acs import AcsClient
from identity_service.azure.acs_calls import ACS_SCOPE
from identity_service.azure.clients import Clients
from identity_service.azure.credential import Credential
from identity_service.azure.registries import TableRegistry
from identity_service.azure.row_reader import STORAGE_SCOPE
from identity_service.errors import NotConfigured
from identity_service.metrics import EventMetrics, record_events
from identity_service.services import Services
from identity_service.settings import read_settings
from tests.azure.test_credential import FakeSource
from tests.support.settings import MINIMAL

KEY = "c2VjcmV0LWtleQ=="
ACCOUNT = "DefaultEndpointsProtocol=https;AccountName=contoso;AccountKey=c2VjcmV0;EndpointSuffix=x"
ENDPOINT = "COMMUNICATION_SERVICES_ENDPOINT"
WITH_KEY = MINIMAL | {"COMMUNICATION_SERVICES_ACCESSKEY": KEY}
WITH_CONNECTION_STRING = {name: text for name, text in MINIMAL.items() if name != ENDPOINT} | {
    "COMMUNICATION_SERVICES_CONNECTION_STRING": f"endpoint=https://contoso.example/;accesskey={KEY}"
}
KEYS_ONLY = WITH_KEY | {"AzureWebJobsStorage": ACCOUNT}
INVALID = MINIMAL | {ENDPOINT: "http://secret-host.example"}

WAYS = {
    "identity": MINIMAL,
    "key": WITH_KEY,
    "connection string": WITH_CONNECTION_STRING,
    "keys only": KEYS_ONLY,
}
PARTS = [name for name, part in vars(Services).items() if isinstance(part, cached_property)]


async def part(services: Services, name: str) -> Any:
    """A part, as an operation gets it."""
    await asyncio.sleep(0)
    return getattr(services, name)


# Parts


@pytest.mark.parametrize("environ", list(WAYS.values()), ids=list(WAYS))
@pytest.mark.parametrize("name", PARTS)
async def test_part_is_created_once(name: str, environ: dict[str, str]) -> None:
    """A hundred concurrent calls get the same part."""
    services = Services(environ)
    parts = await asyncio.gather(*(part(services, name) for _ in range(100)))

    assert len({id(each) for each in parts}) == 1


@pytest.mark.parametrize("environ", [MINIMAL, {}], ids=["valid", "invalid"])
def test_no_part_is_created_early(environ: dict[str, str]) -> None:
    """Parts belong to the worker's event loop, so none is created at start, and none fails."""
    services = Services(environ)

    assert vars(services).keys().isdisjoint(PARTS)


@pytest.mark.parametrize(
    ("environ", "created"),
    [(MINIMAL, True), (WITH_KEY, False), (WITH_CONNECTION_STRING, False)],
    ids=["identity", "key", "connection string"],
)
async def test_key_needs_no_credential(environ: dict[str, str], created: bool) -> None:
    """The client of ACS uses the app's own credential only if there is no key."""
    clients = Clients(read_settings(environ).settings)

    assert isinstance(clients.acs, AcsClient)
    assert ("credential" in vars(clients)) is created


@pytest.mark.parametrize("client_id", ["", "another-identity"])
async def test_credential_for_storage(client_id: str) -> None:
    """Storage uses the app's own credential, unless the settings name another identity."""
    environ = MINIMAL | {"AzureWebJobsStorage__clientId": client_id}
    clients = Clients(read_settings(environ).settings)
    own = clients.storage_credential is clients.credential

    assert own is (client_id == "")


async def test_environment_is_not_read_again() -> None:
    """No SDK client reads proxy variables or .netrc for each request."""
    clients = [
        getattr(Services(environ | {"HTTPS_PROXY": "http://proxy.example"}), name)
        for environ in (MINIMAL, KEYS_ONLY)
        for name in ("acs", "registry")
    ]

    assert [await _reads_environment(client) for client in clients] == [False] * 4


async def _reads_environment(client: object) -> bool:
    """Whether the client's session does. The SDKs have no public way to ask."""
    way = (
        "_table._client._client"
        if isinstance(client, TableRegistry)
        else "_client._identity_service_client._client"
    )
    transport: Any = attrgetter(f"{way}._pipeline._transport")(client)
    async with transport:
        return bool(transport.session.trust_env)


# Settings


@pytest.mark.parametrize("name", PARTS)
async def test_invalid_settings(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Every part fails, each time. The log says why, without a value; the caller is not told."""
    services = Services(INVALID)
    for _ in range(2):
        with pytest.raises(NotConfigured) as caught:
            await part(services, name)

    assert ENDPOINT not in caught.value.detail
    assert len(caplog.messages) == 2
    assert caplog.messages[0].startswith(f'not_configured invalid="{ENDPOINT} must be https://')
    assert "secret" not in caplog.text


@pytest.mark.parametrize(("environ", "configured"), [(MINIMAL, True), (INVALID, False)])
def test_is_configured(environ: dict[str, str], configured: bool) -> None:
    """Whether the settings are valid can be read without an error."""
    assert Services(environ).is_configured is configured


async def test_misspelled_setting_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The name of a setting that looks misspelled is logged once, without its value."""
    services = Services(MINIMAL | {"PURGE_PROTECTON": "secret"})
    for _ in range(2):
        await part(services, "settings")

    assert caplog.messages == [
        "setting_not_known name=PURGE_PROTECTON did_you_mean=PURGE_PROTECTION"
    ]


# Set-up of the process


def test_libraries_are_silenced_at_start() -> None:
    """The Azure SDKs log warnings only, even before a client of theirs is created."""
    logging.getLogger("azure").setLevel(logging.DEBUG)
    Services({})

    assert not logging.getLogger("azure.core.pipeline").isEnabledFor(logging.INFO)


@pytest.fixture
def event_logger() -> Iterator[logging.Logger]:
    """The logger of all events, without handlers for metrics."""
    logger = logging.getLogger("identity_service")
    handlers = list(logger.handlers)
    record_events.cache_clear()
    yield logger
    logger.handlers = handlers
    record_events.cache_clear()


@pytest.mark.parametrize(("setting", "expected"), [("true", 1), ("false", 0), ("", 0)])
def test_metrics_are_recorded_from_the_start(
    event_logger: logging.Logger, setting: str, expected: int
) -> None:
    """With telemetry there is one handler per process, before any part is created."""
    for _ in range(2):
        Services({"PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY": setting})

    handlers = [each for each in event_logger.handlers if isinstance(each, EventMetrics)]
    assert len(handlers) == expected


# Warm-up


async def test_warm_up_creates_the_clients() -> None:
    """With keys, the warm-up needs no credential."""
    services = Services(KEYS_ONLY)
    await services.warm_up()
    [clients] = [part for part in vars(services).values() if isinstance(part, Clients)]

    assert "lifecycle" in vars(services)
    assert vars(clients).keys() >= {"acs", "registry"}
    assert "credential" not in vars(clients)


async def test_warm_up_fetches_the_tokens() -> None:
    """The warm-up requests a token for ACS and one for storage."""
    clients, source = Clients(read_settings(MINIMAL).settings), FakeSource()
    clients.credential = Credential(source)
    await clients.warm_up()

    assert source.requests == [ACS_SCOPE, STORAGE_SCOPE]


async def test_warm_up_survives_an_outage_of_the_identity_endpoint(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A failure is logged for each token, and the warm-up succeeds."""
    clients = Clients(read_settings(MINIMAL).settings)
    clients.credential = Credential(FakeSource(ClientAuthenticationError("no endpoint")))
    await clients.warm_up()

    assert len(caplog.messages) == 2
    assert all(message.startswith("credential_unavailable ") for message in caplog.messages)
