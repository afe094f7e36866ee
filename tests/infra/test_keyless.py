"""No key, connection string or secret is anywhere in what is deployed, nor is one made there."""

import json
import re
from pathlib import Path

import pytest

from identity_service.settings import SIGN_IN
from identity_service.settings_reference import SETTINGS
from tests.infra.bicep import FILES, INFRA, read

ROOT = INFRA.parent
DEPLOYED = [
    *FILES,
    *(INFRA / "queries").glob("*.kql"),
    INFRA / "main.parameters.json",
    ROOT / "azure.yaml",
    ROOT / "host.json",
    ROOT / "local.settings.sample.json",
]
# The address of Application Insights, to whose writers alone it opens: see the test of it below.
INSIGHTS = "APPLICATIONINSIGHTS_CONNECTION_STRING"
# Settings are told from other properties by their names.
_SETTING = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+|Azure\w+__\w+")
_KEYS = re.compile(
    r"list\w*(Keys|Secrets|ConnectionStrings?|Sas)\w*\(|@secure|AccountKey|SharedAccess|accessKey\b"
    r"|AccessKey\b|primaryKey|secondaryKey|password|clientSecret|ClientSecret|connectionString\b"
    r"|ConnectionString\b|InstrumentationKey|sig=|eyJ|WEBSITE_AUTH_ENABLED|ACCESSKEY|CONNECTION_STRING",
)
ROLES = {
    "communication.bicep": {"09976791-48a7-449e-bb21-39d1a415f350"},
    "storage.bicep": {
        "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
        "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    },
    "monitoring.bicep": {"3913510d-42f4-4e42-8a64-420c390055eb"},
}


def keys(text: str) -> list[str]:
    """What in the text is a key, or the way to one."""
    text = text.replace(INSIGHTS, "").replace("insights.properties.ConnectionString", "")
    return [match[0] for match in _KEYS.finditer(text)]


@pytest.mark.parametrize("path", DEPLOYED, ids=lambda path: path.name)
def test_no_key(path: Path) -> None:
    """None is written down, asked for, or made into an output."""
    values = path.read_text()
    if path.name == "local.settings.sample.json":  # it names every setting, those unset too
        values = " ".join(json.loads(values)["Values"].values())

    assert keys(values) == []


@pytest.mark.parametrize(
    "line",
    [
        "value: account.listKeys().keys[0].value",
        "value: listKeys(account.id, '2024-01-01').keys[0].value",
        "AzureWebJobsStorage: 'DefaultEndpointsProtocol=https;AccountName=x;AccountKey=y'",
        "value: acs.listKeys().primaryConnectionString",
        "COMMUNICATION_SERVICES_ACCESSKEY: key",
        "COMMUNICATION_SERVICES_CONNECTION_STRING: value",
        "@secure()",
        "clientSecretSettingName: 'X'",
        "APPINSIGHTS_INSTRUMENTATIONKEY: insights.properties.InstrumentationKey",
        "WEBSITE_AUTH_ENABLED: 'True'",
        "https://x.blob.core.windows.net/c?sp=r&sig=abc",
    ],
)
def test_a_key_is_found(line: str) -> None:
    """Or the test above would show nothing."""
    assert keys(line)


@pytest.mark.parametrize(
    ("file", "path", "value"),
    [
        ("communication.bicep", "properties.disableLocalAuth", "true"),
        ("storage.bicep", "properties.allowSharedKeyAccess", "false"),
        ("storage.bicep", "properties.allowBlobPublicAccess", "false"),
        ("monitoring.bicep", "properties.DisableLocalAuth", "true"),
        ("app.bicep", "properties.httpsOnly", "true"),
        ("app.bicep", "properties.allow", "false"),
        ("app.bicep", "properties.AzureWebJobsStorage__credential", "'managedidentity'"),
        ("app.bicep", "properties.AZURE_TOKEN_CREDENTIALS", "'ManagedIdentityCredential'"),
        ("app.bicep", "properties.globalValidation.requireAuthentication", "false"),
        (
            "app.bicep",
            "properties.globalValidation.unauthenticatedClientAction",
            "'AllowAnonymous'",
        ),
    ],
)
def test_keys_open_nothing(file: str, path: str, value: str) -> None:
    """Resources take Entra identities alone; and those without a sign-in reach the app."""
    values = [found for name, found in read((INFRA / file).read_bytes()).values if name == path]

    assert set(values) == {value}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_roles(path: Path) -> None:
    """The app has four, each on one resource and no more."""
    text = path.read_text()
    guids = set(re.findall(r"'([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})'", text))
    scopes = [value for name, value in read(path.read_bytes()).values if name == "scope"]

    assert guids == ROLES.get(path.name, set())
    assert set(scopes) <= {"acs", "account", "insights", "group"}


def test_every_setting_is_known() -> None:
    """What the template sets, the app or the platform reads."""
    values = [pair for path in FILES for pair in read(path.read_bytes()).values]
    names = {name.rpartition(".")[2] for name, _ in values}
    found = {name for name in names if _SETTING.fullmatch(name)}

    assert found <= {setting.name for setting in SETTINGS} - {SIGN_IN}
    assert {"COMMUNICATION_SERVICES_ENDPOINT", "CLEANUP_SCHEDULE", INSIGHTS} <= found


def test_application_insights_is_an_address() -> None:
    """Its connection string is a setting; only an identity with the role can write there."""
    app = dict(read((INFRA / "app.bicep").read_bytes()).values)

    assert app[f"properties.{INSIGHTS}"] == "applicationInsights"
    authentication = app["properties.APPLICATIONINSIGHTS_AUTHENTICATION_STRING"]
    assert authentication == "'Authorization=AAD;ClientId=${clientId}'"
