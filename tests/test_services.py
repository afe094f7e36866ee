"""Every part is made when first asked for, and once."""

import asyncio
import logging

import pytest

from identity_service.credential import Credential
from identity_service.errors import NotConfigured
from identity_service.services import Services
from identity_service.settings import ACCESS_KEY, CONNECTION_STRING, ENDPOINT, SCHEDULE, STORAGE

# What the registry and the sweep need.
REST = {f"{STORAGE}__accountName": "contoso", SCHEDULE: "0 */5 * * * *"}
ACCOUNT = "DefaultEndpointsProtocol=https;AccountName=contoso;AccountKey=c2VjcmV0;EndpointSuffix=x"

IDENTITY = REST | {ENDPOINT: "https://contoso.example"}
KEY = IDENTITY | {ACCESS_KEY: "c2VjcmV0LWtleQ=="}
CONNECTION = REST | {
    CONNECTION_STRING: "endpoint=https://contoso.example/;accesskey=c2VjcmV0LWtleQ=="
}
KEYS_ONLY = KEY | {STORAGE: ACCOUNT}
FAULTY = REST | {ENDPOINT: "http://secret-host.example"}

WAYS = {"identity": IDENTITY, "key": KEY, "connection string": CONNECTION}


async def part(services: Services, name: str) -> object:
    """Ask for a part the way an operation is given it."""
    await asyncio.sleep(0)
    found: object = getattr(services, name)
    return found


@pytest.mark.parametrize("environ", list(WAYS.values()), ids=list(WAYS))
@pytest.mark.parametrize("name", ["settings", "credential", "acs", "registry", "readiness"])
async def test_one_of_each(name: str, environ: dict[str, str]) -> None:
    """A hundred who ask at once get one and the same part."""
    services = Services(environ)

    parts = await asyncio.gather(*(part(services, name) for _ in range(100)))

    assert len({id(one) for one in parts}) == 1


async def test_nothing_is_made_before_it_is_asked_for() -> None:
    """Settings that are at fault trouble nobody who does not ask for them."""
    environ: dict[str, str] = {}

    services = Services(environ)

    assert isinstance(services, Services)


async def test_environment_is_read_when_first_asked() -> None:
    """The environment counts as it is at the first call, for the platform replaces it before."""
    environ: dict[str, str] = {}
    services = Services(environ)
    environ.update(IDENTITY)

    settings = services.settings

    assert settings.acs_endpoint == "https://contoso.example"


@pytest.mark.parametrize("environ", [KEY, CONNECTION], ids=["key", "connection string"])
async def test_key_needs_no_credential(environ: dict[str, str]) -> None:
    """With a key no credential is made."""
    services = Services(environ)

    await part(services, "acs")

    assert "credential" not in vars(services)


async def test_identity_needs_a_credential() -> None:
    """Without a key the app's own credential is what the client gets."""
    services = Services(IDENTITY)

    await part(services, "acs")

    assert isinstance(vars(services)["credential"], Credential)


@pytest.mark.parametrize("name", ["settings", "acs", "registry", "deletion", "cleanup"])
async def test_not_configured(name: str) -> None:
    """Settings that are at fault are `NotConfigured`, each time anew."""
    services = Services(FAULTY)

    outcomes = await asyncio.gather(
        *(part(services, name) for _ in range(3)), return_exceptions=True
    )

    assert [type(outcome) for outcome in outcomes] == [NotConfigured] * 3


@pytest.mark.parametrize("name", ["settings", "acs", "registry", "deletion", "cleanup"])
async def test_configured_at_last(name: str) -> None:
    """Settings that are put right serve without a restart."""
    environ = dict(FAULTY)
    services = Services(environ)
    with pytest.raises(NotConfigured):
        await part(services, name)
    environ.update(IDENTITY)

    found = await part(services, name)

    assert found is not None


async def test_faults_go_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The log names the setting at fault."""
    services = Services(FAULTY)

    with pytest.raises(NotConfigured):
        await part(services, "acs")

    assert f'not_configured faults="{ENDPOINT}: the endpoint must be' in caplog.text


async def test_faults_stay_inside() -> None:
    """The caller does not learn which setting is at fault."""
    services = Services(FAULTY)

    with pytest.raises(NotConfigured) as caught:
        await part(services, "acs")

    assert ENDPOINT not in caught.value.detail


async def test_log_holds_no_value(caplog: pytest.LogCaptureFixture) -> None:
    """No setting's value reaches the log."""
    services = Services(FAULTY)

    with pytest.raises(NotConfigured):
        await part(services, "acs")

    assert "secret" not in caplog.text


@pytest.fixture
def _misspelt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The chain of credentials is chosen by a word that azure-identity does not know."""
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "secret-word")


@pytest.mark.usefixtures("_misspelt")
async def test_unknown_credential() -> None:
    """A word for the credential that azure-identity does not know is `NotConfigured`."""
    services = Services(IDENTITY)

    with pytest.raises(NotConfigured):
        await part(services, "acs")


@pytest.mark.usefixtures("_misspelt")
async def test_unknown_credential_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The log names the setting that azure-identity does not understand."""
    services = Services(IDENTITY)

    with pytest.raises(NotConfigured):
        await part(services, "acs")

    assert "AZURE_TOKEN_CREDENTIALS" in caplog.text


@pytest.mark.usefixtures("_misspelt")
async def test_unknown_credential_is_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    """What stands there instead does not reach the log: it may be a secret in the wrong place."""
    services = Services(IDENTITY)

    with pytest.raises(NotConfigured):
        await part(services, "acs")

    assert "secret-word" not in caplog.text


@pytest.mark.usefixtures("_misspelt")
async def test_key_serves_whatever_the_credential() -> None:
    """With a key nobody looks at how a credential would be chosen."""
    services = Services(KEY)

    acs = await part(services, "acs")

    assert acs is not None


async def test_credential_put_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """A word that is put right serves without a restart."""
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "secret-word")
    services = Services(IDENTITY)
    with pytest.raises(NotConfigured):
        await part(services, "acs")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")

    acs = await part(services, "acs")

    assert acs is not None


async def test_warm_up_makes_the_clients() -> None:
    """The warm-up makes the clients ahead of the first request."""
    services = Services(KEYS_ONLY)

    await services.warm_up()

    assert {"acs", "registry"} <= set(vars(services))


async def test_storage_shares_the_credential() -> None:
    """One identity for all: storage takes the credential that ACS takes."""
    services = Services(IDENTITY)

    credential = await part(services, "storage_credential")

    assert credential is services.credential


async def test_storage_may_have_a_credential_of_its_own() -> None:
    """Where the settings name another identity for storage, that one is taken."""
    services = Services(IDENTITY | {f"{STORAGE}__clientId": "a-b-c"})

    credential = await part(services, "storage_credential")

    assert credential is not services.credential


@pytest.mark.parametrize(
    "storage",
    [
        {STORAGE: "AccountName=contoso"},
        {f"{STORAGE}__tableServiceUri": "https://"},
        {f"{STORAGE}__tableServiceUri": "https://[::1"},
    ],
    ids=["half a connection string", "scheme alone", "unclosed bracket"],
)
async def test_unusable_storage(storage: dict[str, str]) -> None:
    """A storage account of which no client can be made is `NotConfigured`."""
    services = Services(IDENTITY | storage)

    with pytest.raises(NotConfigured):
        await part(services, "registry")


async def test_sdk_is_quiet() -> None:
    """The SDK's own line for every request stays out of the log: it holds headers."""
    services = Services(KEY)

    await part(services, "acs")

    assert not logging.getLogger("azure.core.pipeline").isEnabledFor(logging.INFO)


def test_problems_are_explained_whatever_else_is_at_fault() -> None:
    """Where problems are explained is known even where the settings are at fault."""
    services = Services({"PROBLEM_BASE_URI": "https://docs.example/problems"})

    assert services.problem_base_uri == "https://docs.example/problems"
