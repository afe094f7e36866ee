"""The runbook that separates the registry from the host's data."""

from pathlib import Path

import pytest

from tests.runbooks.conftest import Account, Operate, has_registry
from tests.runbooks.operator import REGISTRY, TABLES, Operator
from tests.runbooks.page import section
from tests.support.client import until
from tests.support.stack import App, Azure

RUNBOOK = section("give-the-registry-an-account-of-its-own")
COPY = RUNBOOK.command("blob download-batch")
READY = RUNBOOK.command("acsid ready")
LIST = RUNBOOK.command("acsid list")
ROLL_BACK = section("roll-back").command("appsettings set")

BLOBS = {
    "azure-webjobs-secrets/func-contoso/host.json": "encrypted",
    "azure-webjobs-secrets/func-contoso/create_identity.json": "encrypted too",
    "package/released-package.zip": "code",
}


@pytest.fixture
def operator(operate: Operate, account: Account) -> Operator:
    """The operator of an app whose host and registry are in one account."""
    return operate(settings={TABLES: account.tables.address})


@pytest.fixture
async def identity_id(operator: Operator) -> str:
    """An identity in that account."""
    await until(lambda: has_registry(operator.api))
    return await operator.api.new_identity()


@pytest.fixture
async def switched(
    operator: Operator, azure: Azure, account: Account, identity_id: str
) -> Operator:
    """The operator after `azd up` has given the host the account of the local Azure."""
    assert identity_id
    addresses = {REGISTRY: account.tables.address, TABLES: azure.settings[TABLES]}
    await operator.change_settings(**addresses)
    await until(lambda: has_registry(operator.api))
    return operator


def blobs(operator: Operator, account: str) -> dict[str, str]:
    """The blobs of an account, by container and name."""
    folder = operator.folder / "blobs" / account
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def store(folder: Path) -> None:
    """Stores the blobs of an account, and others that stay."""
    for name, text in {**BLOBS, "azure-webjobs-hosts/timers/status": "x"}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


async def test_the_keys_and_the_package_are_copied(operate: Operate, app: App) -> None:
    """The new account has them under the same names, also if the step is repeated."""
    operator = operate(app)
    store(operator.folder / "blobs" / "old")

    for _ in range(2):
        await operator.run(COPY, STORAGE="old", HOST_STORAGE="new")

    assert blobs(operator, "new") == BLOBS
    assert blobs(operator, "old").items() >= BLOBS.items()


async def test_an_interrupted_copy_is_noticed(operate: Operate, app: App) -> None:
    """If a container is missing, the step fails."""
    operator = operate(app)

    await operator.run(COPY, exit_code=1, STORAGE="old", HOST_STORAGE="new")

    assert blobs(operator, "new") == {}


async def test_the_registry_stays(switched: Operator, identity_id: str) -> None:
    """The app has the same identities, and issues tokens for them."""
    await switched.run(READY)

    listed = await switched.run(LIST)

    assert identity_id in listed.output
    assert await switched.api.new_token(identity_id)


async def test_the_accounts_are_separate(switched: Operator, identity_id: str) -> None:
    """Without the setting, the app reads the host's account, which has none of the identities."""
    created = await switched.api.new_identity()

    await switched.change_settings(**{REGISTRY: ""})

    assert not {identity_id, created} & set(await switched.api.all_ids("identities"))


async def test_an_earlier_release_finds_the_registry(
    switched: Operator, account: Account, identity_id: str
) -> None:
    """It does not know the setting, but the one that the command sets."""
    await switched.change_settings(**{REGISTRY: ""})

    await switched.run(ROLL_BACK, URL=account.tables.address)

    await until(lambda: has_registry(switched.api))
    assert identity_id in await switched.api.all_ids("identities")
