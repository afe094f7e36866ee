"""Every setting is documented, everywhere where settings are, and its default is the one told."""

import json
from pathlib import Path

import pytest

from identity_service import settings as names
from identity_service.errors import NotConfigured
from identity_service.settings import Settings
from identity_service.settings_reference import SETTINGS, Setting, page

ROOT = Path(__file__).parent.parent

BY_NAME = {setting.name: setting for setting in SETTINGS}
WITH_DEFAULT = [setting for setting in SETTINGS if setting.default is not None]

# Set by the platform, never by a person.
PLATFORM = {names.SIGN_IN}
# The sample has the addresses instead, and leaves out what would win over them. No proxy leads to
# loopback, and no Application Insights is there.
NOT_IN_SAMPLE = {
    names.STORAGE,
    f"{names.STORAGE}__accountName",
    f"{names.STORAGE}__clientId",
    names.PROXY,
    names.NO_PROXY,
    names.TELEMETRY,
    "AzureFunctionsJobHost__telemetryMode",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    *PLATFORM,
}

MINIMAL = {
    names.ENDPOINT: "https://contoso.communication.azure.com",
    f"{names.STORAGE}__accountName": "contoso",
    names.SCHEDULE: "0 */5 * * * *",
}


def test_page() -> None:
    """docs/settings.md is made from the code. `make docs` makes it anew."""
    committed = (ROOT / "docs" / "settings.md").read_text()

    assert committed == page()


def test_sample() -> None:
    """The sample has every setting, with a value that works against the local Azure."""
    sample = json.loads((ROOT / "local.settings.sample.json").read_text())

    assert set(sample["Values"]) == set(BY_NAME) - NOT_IN_SAMPLE


def test_every_name() -> None:
    """Every name that the settings look for is documented."""
    source = Path(names.__file__).read_text()
    constants = {
        value
        for name, value in vars(names).items()
        if name.isupper() and isinstance(value, str) and f"{name} = " in source
    }

    assert constants <= set(BY_NAME)


@pytest.mark.parametrize("setting", WITH_DEFAULT, ids=lambda setting: setting.name)
def test_default(setting: Setting) -> None:
    """A setting left out is as if it had its documented default."""
    told = {setting.name: setting.default or ""}

    assert Settings.from_env(MINIMAL | told) == Settings.from_env(MINIMAL)


@pytest.mark.parametrize("setting", WITH_DEFAULT, ids=lambda setting: setting.name)
def test_default_is_read(setting: Setting) -> None:
    """And it is not so because nobody reads it: another value makes a difference, or a fault."""
    another = {setting.name: "https://docs.example/#"}

    with pytest.raises(NotConfigured, match=setting.name):
        Settings.from_env(MINIMAL | another)
