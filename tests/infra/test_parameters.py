"""No value of a parameter breaks the app: each has its type and its range."""

import json
from typing import Any

import pytest

from identity_service.settings_table import CHAPTERS, SETTINGS, TELEMETRY, WORKER_TELEMETRY
from tests.infra.bicep import INFRA, read
from tests.infra.evaluate import SUBSCRIPTION, TENANT, RefusedError, deploy, evaluate

CLIENT_ID = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
OTHER_SUBSCRIPTION = "/subscriptions/22222222-2222-2222-2222-222222222222"
ACS = "/resourceGroups/rg-chat/providers/Microsoft.Communication/communicationServices/contoso"
DECLARED = read((INFRA / "main.bicep").read_bytes())

OUT_OF_RANGE: list[tuple[str, Any]] = [
    ("environmentName", ""),
    ("environmentName", "a" * 31),
    ("environmentName", "a_b"),
    ("environmentName", "a.b"),
    ("environmentName", "a b"),
    ("environmentName", "a-"),
    ("environmentName", "-a"),
    ("environmentName", "ä"),
    ("location", ""),
    ("dataLocation", ""),
    ("communicationResourceId", "contoso"),
    ("communicationResourceId", OTHER_SUBSCRIPTION + ACS),
    ("communicationResourceId", SUBSCRIPTION + ACS.replace("Communication/", "Storage/")),
    ("communicationResourceId", SUBSCRIPTION + ACS.removesuffix("contoso")),
    ("communicationResourceId", SUBSCRIPTION + ACS.replace("rg-chat", "")),
    ("communicationResourceId", SUBSCRIPTION + ACS + " "),
    ("communicationResourceId", SUBSCRIPTION + ACS.replace("/rg-chat", "") + "/a"),
    ("storageSku", "Premium_LRS"),
    ("pythonVersion", "3.10"),
    ("instanceMemoryMB", 1024),
    ("maximumInstances", 0),
    ("maximumInstances", 1001),
    ("alwaysReadyInstances", -3),
    ("alwaysReadyInstances", 41),
    ("alwaysReadyInstances", 1001),
    ("cleanupSchedule", ""),
    ("cleanupSchedule", "*/5 * * * *     "),
    ("cleanupSchedule", "0 */5 * * * * *"),
    ("cleanupSchedule", "0 */5 * * * %X%"),
    ("cleanupSchedule", "0 */5 * * * " + "*" * 100),
    ("deletedIdentityRetentionDays", -1),
    ("deletedIdentityRetentionDays", 91),
    ("allowedOrigins", ["*"]),
    ("allowedOrigins", ["https://app.contoso.com", "https://*.contoso.com"]),
    ("allowedOrigins", ["http://app.contoso.com"]),
    ("allowedOrigins", ["https://app.contoso.com/"]),
    ("allowedOrigins", ["https://app.contoso.com/page"]),
    ("allowedOrigins", ["https://"]),
    ("allowedOrigins", ["app.contoso.com"]),
    ("allowedOrigins", ["https://app contoso.com"]),
    ("allowedOrigins", ["https://app.contoso.com?page"]),
    ("allowedOrigins", ["https://user@app.contoso.com"]),
    ("allowedOrigins", ["http://localhost:"]),
    ("serviceAuthentication", "none"),
    ("signInClientId", "app"),
    ("signInClientId", CLIENT_ID[:-1] + "g"),
    ("signInClientId", CLIENT_ID.replace("-", "")),
    ("alertEmail", "operators"),
    ("alertEmail", "@contoso.com"),
    ("alertEmail", "a@b@contoso.com"),
    ("alertEmail", "a@contoso.com@"),
    ("alertEmail", "operators @contoso.com"),
    ("alertEmail", "operators@contoso.com;"),
    ("alertEmail", "operators@contoso.com\n"),
    ("alertEmail", "ö@contoso.com"),
    ("alertEmail", "a@" + "b" * 254),
    ("unusualDeletions", 0),
    ("unusualDeletions", 1_000_001),
    ("unusualCreations", 0),
    ("unusualCreations", 1_000_001),
    ("unusualTokens", 0),
    ("unusualTokens", 100_000_001),
    ("sweepMissingAfter", "PT16M"),
    ("storageAccounts", "three"),
    ("deployedApp", "a" * 61),
    ("deployedApp", "func-contoso-other"),
    ("deployedStorageAccounts", "three"),
    ("dailyCapGB", -1),
    ("dailyCapGB", 10_001),
    ("auditRetentionDays", -1),
    ("auditRetentionDays", 36501),
    ("moreSettings", {"PURGE_HODL": "true"}),
    ("moreSettings", {"purge_hold": "true"}),
    ("moreSettings", {"AzureWebJobs.Storage__accountKey": "key"}),
    ("moreSettings", {"AzureWebJobs.purge_deleted_identites.Disabled": "true"}),
    ("moreSettings", {"azurewebjobs.purge_deleted_identities.disabled": "true"}),
]
IN_RANGE: list[dict[str, Any]] = [
    {"environmentName": "a" * 30},
    {"environmentName": "Contoso-Test-2"},
    {"communicationResourceId": SUBSCRIPTION + ACS},
    {"communicationResourceId": (SUBSCRIPTION + ACS).upper().replace("/SUBSCR", "/subscr")},
    {"maximumInstances": 1, "alwaysReadyInstances": 1},
    {"maximumInstances": 1000, "alwaysReadyInstances": 1000},
    {"cleanupSchedule": "0 */15 0-23 * * MON-FRI"},
    {"deletedIdentityRetentionDays": 0},
    {"allowedOrigins": ["https://app.contoso.com", "http://localhost:8080"]},
    {"signInClientId": CLIENT_ID.upper()},
    {"serviceAuthentication": "entra", "signInClientId": CLIENT_ID},
    {"alertEmail": "operators@contoso.com"},
    {"alertEmail": "Conan.O'Brien+azure@contoso-mail.com"},
    {"unusualDeletions": 1},
    {"dailyCapGB": 0},
    {"moreSettings": {"AzureWebJobs.purge_deleted_identities.Disabled": "true"}},
    {"moreSettings": {"AzureFunctionsJobHost__logging__logLevel__default": "Warning"}},
]


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE)
def test_out_of_range(name: str, value: Any) -> None:
    """The deployment is refused, and the message names the parameter."""
    with pytest.raises(RefusedError, match=name):
        deploy(**{name: value})


@pytest.mark.parametrize("parameters", IN_RANGE)
def test_in_range(parameters: dict[str, Any]) -> None:
    """The deployment is accepted."""
    deploy(**parameters)


# The most characters in a name, of the types whose names have that of the environment or are short.
# Source: https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
_LONGEST = {
    "Microsoft.Communication/communicationServices": 63,
    "Microsoft.ManagedIdentity/userAssignedIdentities": 128,
    "Microsoft.Network/virtualNetworks": 64,
    "Microsoft.OperationalInsights/workspaces": 63,
    "Microsoft.Storage/storageAccounts": 24,
    "Microsoft.Web/serverfarms": 60,
    "Microsoft.Web/sites": 60,
}


@pytest.mark.parametrize("kind", _LONGEST)
def test_the_longest_environment_fits(kind: str) -> None:
    """No name that is made from it is too long for Azure."""
    deployment = deploy(
        environmentName="A" * 30, storageAccounts="two", vnetEnabled=True, auditRetentionDays=1
    )

    assert max(len(each.name) for each in deployment.all(kind)) <= _LONGEST[kind]


def test_every_parameter_has_a_range() -> None:
    """Each of them is tested above, except for those that are true or false."""
    flags = {name for name in DECLARED.parameters if isinstance(_default(name), bool)}

    assert {name for name, _ in OUT_OF_RANGE} == set(DECLARED.parameters) - flags


@pytest.mark.parametrize("name", DECLARED.parameters)
def test_wrong_type(name: str) -> None:
    """A value of another type is refused."""
    default = _default(name)
    wrong = "text" if isinstance(default, bool | int | list | dict) else 1

    with pytest.raises(RefusedError, match=f"{name} must be of type"):
        deploy(**{name: wrong})


@pytest.mark.parametrize("value", [["*", 1], [None], [["https://app.contoso.com"]]])
def test_wrong_type_in_a_list(value: list[Any]) -> None:
    """Origins are texts."""
    with pytest.raises(RefusedError, match="allowedOrigins must be of type"):
        deploy(allowedOrigins=value)


@pytest.mark.parametrize("value", [True, 1, None, {}])
def test_wrong_type_of_a_setting(value: Any) -> None:
    """Settings are texts."""
    with pytest.raises(RefusedError, match="moreSettings must be of type"):
        deploy(moreSettings={"PURGE_HOLD": value})


@pytest.mark.parametrize(
    "parameters",
    [
        {"storageAccounts": "two"},
        {"storageAccounts": "", "deployedStorageAccounts": "two"},
        {"serviceAuthentication": "entra", "signInClientId": CLIENT_ID},
        {"sweepMissingAfter": "PT30M"},
        {"allowedOrigins": ["https://app.contoso.com"]},
    ],
)
def test_case_does_not_matter(parameters: dict[str, Any]) -> None:
    """Azure ignores it when it checks a value against a list, so the templates must not differ."""
    other = {
        name: value.swapcase() if isinstance(value, str) else [each.upper() for each in value]
        for name, value in parameters.items()
    }

    assert deploy(**other).resources == deploy(**parameters).resources


@pytest.mark.parametrize(
    "change",
    [
        {"environmentName": "Contoso"},
        {"location": "West Europe"},
        {"location": "northeurope"},
    ],
)
def test_a_deployed_app_is_not_created_again(change: dict[str, str]) -> None:
    """Under other names it would have an empty registry and new keys."""
    app = deploy().outputs["FUNCTION_APP_NAME"]

    with pytest.raises(RefusedError, match=f"is not that of deployedApp {app}"):
        deploy(deployedApp=app, **change)


def test_services_with_entra_need_a_registration() -> None:
    """Without one, App Service Authentication is off, and the app would refuse every service."""
    with pytest.raises(RefusedError, match="serviceAuthentication entra requires signInClientId"):
        deploy(serviceAuthentication="entra")


# Other settings

# Set by the template, by the platform, or never on Flex Consumption.
_OURS = {
    *deploy(openTelemetry=True).settings,
    *(setting.name for setting in CHAPTERS["Storage"]),
    *(setting.name for setting in CHAPTERS["Azure Communication Services"]),
    *(setting.name for setting in CHAPTERS["The platform"]),
}
# Some of those that the platform, the host or the worker read, and that would break the app.
_FOREIGN = {
    "AZURE_CLIENT_SECRET",
    "AzureFunctionsJobHost__extensions__http__routePrefix",
    "AzureFunctionsWebHost__hostid",
    "AzureWebJobsSecretStorageType",
    "AzureWebJobsStorage__accountKey",
    "AzureWebJobsStorage:accountName",
    "ENABLE_ORYX_BUILD",
    "FUNCTIONS_EXTENSION_VERSION",
    "FUNCTIONS_WORKER_PROCESS_COUNT",
    "SCM_DO_BUILD_DURING_DEPLOYMENT",
    "WEBSITE_AUTH_ENABLED",
    "WEBSITE_RUN_FROM_PACKAGE",
    "WEBSITE_TIME_ZONE",
}


@pytest.mark.parametrize("name", sorted(_OURS | _FOREIGN))
def test_reserved_setting(name: str) -> None:
    """A setting that the deployment decides is refused, whatever its case."""
    for spelling in (name, name.upper(), name.lower()):
        with pytest.raises(RefusedError, match=f"moreSettings must not have {spelling}"):
            deploy(moreSettings={"PURGE_HOLD": "true", spelling: "x"})


@pytest.mark.parametrize("name", sorted({setting.name for setting in SETTINGS} - _OURS))
def test_free_setting(name: str) -> None:
    """All other settings of the app can be set."""
    settings = deploy(moreSettings={name: "value"}).settings

    assert settings == deploy().settings | {name: "value"}


def test_every_function_can_be_stopped() -> None:
    """Those of openapi.json, and the two that only the host calls."""
    api = json.loads((INFRA.parent / "openapi.json").read_text())
    names = {each["operationId"] for path in api["paths"].values() for each in path.values()}
    stops = {
        f"AzureWebJobs.{name}.Disabled": "true"
        for name in names | {"purge_deleted_identities", "warmup"}
    }

    assert deploy(moreSettings=stops).settings.items() >= stops.items()


def test_our_settings_win() -> None:
    """Even if a name were not refused, it would replace nothing."""
    parameters = deploy(openTelemetry=True).modules["app"]
    ours = evaluate("app.bicep", parameters).settings

    settings = evaluate("app.bicep", parameters | {"moreSettings": dict.fromkeys(ours, "theirs")})

    assert settings.settings == ours


@pytest.mark.parametrize(
    ("version", "expected"), [("3.11", "true"), ("3.12", "true"), ("3.13", "false")]
)
def test_every_worker_gets_its_telemetry_setting(version: str, expected: str) -> None:
    """Only workers before 3.13 get their own: without the packages it would stop newer ones."""
    settings = deploy(openTelemetry=True, pythonVersion=version).settings

    assert settings[TELEMETRY.name] == "true"
    assert settings[WORKER_TELEMETRY.name] == expected


# Sign-in


def test_sign_in() -> None:
    """The platform checks tokens for the registration, and lets all requests through to the app."""
    auth = _auth(signInClientId=CLIENT_ID)

    assert auth["platform"] == {"enabled": True}
    assert auth["globalValidation"] == {
        "requireAuthentication": False,
        "unauthenticatedClientAction": "AllowAnonymous",
    }
    assert auth["identityProviders"]["azureActiveDirectory"] == {
        "enabled": True,
        "registration": {
            "clientId": CLIENT_ID,
            "openIdIssuer": f"https://login.microsoftonline.com/{TENANT}/v2.0",
        },
        # Tokens of version 2 have the client id as audience, those of version 1 the URI.
        "validation": {"allowedAudiences": [CLIENT_ID, f"api://{CLIENT_ID}"]},
    }


def test_without_sign_in() -> None:
    """A deployment without a client id turns off what an earlier one has turned on."""
    auth = _auth()

    assert auth["platform"] == {"enabled": False}
    assert auth["identityProviders"] == {"azureActiveDirectory": {"enabled": False}}


def _auth(**parameters: Any) -> dict[str, Any]:
    sites = deploy(**parameters)
    return sites.one("Microsoft.Web/sites/config", "/authsettingsV2").properties


def _default(name: str) -> Any:
    return deploy().parameters[name]
