"""The deployment contains and creates no key, connection string or secret."""

import json
import re
from pathlib import Path

import pytest

from identity_service.settings_table import SETTINGS, SIGN_IN
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
# Only an address: local authentication is off, so writing requires an identity with the role.
INSIGHTS = "APPLICATIONINSIGHTS_CONNECTION_STRING"
# The names of settings, as opposed to other properties.
_SETTING = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+|Azure\w+__\w+")
_KEYS = re.compile(
    r"list\w*(Keys|Secrets|ConnectionStrings?|Sas)\w*\(|@secure|AccountKey|SharedAccess|accessKey\b"
    r"|AccessKey\b|primaryKey|secondaryKey|password|clientSecret|ClientSecret|connectionString\b"
    r"|ConnectionString\b|InstrumentationKey|sig=|eyJ|WEBSITE_AUTH_ENABLED|ACCESSKEY|CONNECTION_STRING"
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
    """Parts of the text that contain a key or read one."""
    text = text.replace(INSIGHTS, "").replace("insights.properties.ConnectionString", "")
    return [match[0] for match in _KEYS.finditer(text)]


@pytest.mark.parametrize("path", DEPLOYED, ids=lambda path: path.name)
def test_no_key(path: Path) -> None:
    """A deployed file contains, reads and outputs no key."""
    values = path.read_text()
    if path.name == "local.settings.sample.json":  # it lists the key settings too, empty
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
    """The check above detects every way to use a key."""
    assert keys(line)


@pytest.mark.parametrize(
    ("file", "path", "value"),
    [
        ("communication.bicep", "properties.disableLocalAuth", "true"),
        ("storage.bicep", "properties.allowSharedKeyAccess", "false"),
        ("storage.bicep", "properties.allowBlobPublicAccess", "false"),
        ("audit.bicep", "properties.allowSharedKeyAccess", "false"),
        ("audit.bicep", "properties.allowBlobPublicAccess", "false"),
        ("monitoring.bicep", "properties.DisableLocalAuth", "true"),
        ("app.bicep", "properties.httpsOnly", "true"),
        ("app.bicep", "properties.allow", "false"),
        ("app.bicep", "properties.AzureWebJobsStorage__credential", "'managedidentity'"),
        ("app.bicep", "properties.AZURE_TOKEN_CREDENTIALS", "'ManagedIdentityCredential'"),
        ("app.bicep", f"properties.{INSIGHTS}", "applicationInsights"),
        (
            "app.bicep",
            "properties.APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
            "'Authorization=AAD;ClientId=${clientId}'",
        ),
        ("app.bicep", "properties.globalValidation.requireAuthentication", "false"),
        (
            "app.bicep",
            "properties.globalValidation.unauthenticatedClientAction",
            "'AllowAnonymous'",
        ),
    ],
)
def test_keys_are_disabled(file: str, path: str, value: str) -> None:
    """Resources accept Entra identities only, and requests without a sign-in reach the app."""
    values = [found for name, found in read((INFRA / file).read_bytes()).values if name == path]

    assert set(values) == {value}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_roles(path: Path) -> None:
    """The app has four roles, each on a single resource."""
    text = path.read_text()
    guids = set(re.findall(r"'([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})'", text))
    bicep = read(path.read_bytes())
    scopes = {
        bicep.scopes[name]
        for name, kind in bicep.resources.items()
        if kind.startswith("Microsoft.Authorization/roleAssignments@")
    }

    assert guids == ROLES.get(path.name, set())
    assert scopes <= {"acs", "account", "insights"}


def test_every_setting_is_known() -> None:
    """The app or the platform knows every setting that the template sets."""
    values = [pair for path in FILES for pair in read(path.read_bytes()).values]
    names = {name.rpartition(".")[2] for name, _ in values}
    found = {name for name in names if _SETTING.fullmatch(name)}

    assert found <= {setting.name for setting in SETTINGS} - {SIGN_IN.name}
    assert {"COMMUNICATION_SERVICES_ENDPOINT", "CLEANUP_SCHEDULE", INSIGHTS} <= found
