"""Whoever gets into one part of the deployment does not get the others."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from identity_service.settings_table import ACCOUNT_NAME, REGISTRY_TABLE_SERVICE
from tests.infra.bicep import INFRA
from tests.infra.evaluate import SUBSCRIPTION, Deployment, deploy

ACCOUNT = "Microsoft.Storage/storageAccounts"
EXISTING = {
    "communicationResourceId": f"{SUBSCRIPTION}/resourceGroups/rg-chat"
    "/providers/Microsoft.Communication/communicationServices/contoso"
}
BLOB_OWNER = "b7e6dc6d-f1e8-4753-8033-0f276bb0955b"
TABLE_CONTRIBUTOR = "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3"
# The templates of the last release, evaluated: all resources, and the place of the host's data.
PREVIOUS = json.loads((Path(__file__).parent / "previous_release.json").read_text())
_VARIANTS = {"new": {}, "existing": EXISTING}
# How azd deploys an app that an earlier release has deployed, and how a script without azd does.
_APP = deploy().outputs["FUNCTION_APP_NAME"]
_UPGRADES = {"azd": {"storageAccounts": "", "deployedApp": _APP}, "script": {}}

each_variant = pytest.mark.parametrize("variant", _VARIANTS)
each_upgrade = pytest.mark.parametrize("upgrade", _UPGRADES)
each_layout = pytest.mark.parametrize("storage_accounts", ["one", "prepared", "two"])


def new_app(**parameters: Any) -> Deployment:
    """What azd deploys the first time."""
    return deploy(storageAccounts="", deployedApp="", **parameters)


def registry_account(deployment: Deployment) -> str:
    """The account whose table is the registry."""
    url = deployment.settings[REGISTRY_TABLE_SERVICE.name]
    [account] = re.findall(r"^https://(\w+)\.table\.core\.windows\.net$", url)
    return str(account)


def host_account(deployment: Deployment) -> str:
    """The account with the host's keys."""
    return deployment.settings[ACCOUNT_NAME.name]


def package(deployment: Deployment) -> str:
    """The URL of the container with the app's package."""
    config = deployment.one("Microsoft.Web/sites").properties["functionAppConfig"]
    url: str = config["deployment"]["storage"]["value"]
    return url


def roles(deployment: Deployment, account: str) -> set[str]:
    """The app's roles on an account."""
    return {
        each.properties["roleDefinitionId"].rpartition("/")[2]
        for each in deployment.all("Microsoft.Authorization/roleAssignments")
        if each.scope == f"{ACCOUNT} {account}"
    }


# An upgrade


@each_variant
@each_upgrade
def test_an_upgrade_moves_nothing(variant: str, upgrade: str) -> None:
    """The registry, the keys and the package stay where the last release has put them."""
    before = PREVIOUS[variant]

    after = deploy(**_VARIANTS[variant], **_UPGRADES[upgrade])

    assert registry_account(after) == host_account(after) == before["host"]
    assert package(after) == before["package"]
    assert roles(after, before["host"]) == {BLOB_OWNER, TABLE_CONTRIBUTOR}


@each_variant
@each_upgrade
def test_an_upgrade_keeps_every_resource(variant: str, upgrade: str) -> None:
    """Each resource of the last release is deployed again, under its name."""
    parameters = {"auditRetentionDays": 30, "alertEmail": "operators@contoso.com"}

    after = deploy(**parameters, **_VARIANTS[variant], **_UPGRADES[upgrade])

    assert set(PREVIOUS[variant]["resources"]) <= {each.id for each in after.resources}


@pytest.mark.parametrize("first", [{"deployedApp": _APP}, {}], ids=["old", "new"])
def test_the_next_deployment_stays_as_it_is(first: dict[str, str]) -> None:
    """The output of the last deployment decides, which azd passes."""
    before = deploy(storageAccounts="", **first)
    outputs = {
        "deployedStorageAccounts": before.outputs["DEPLOYED_STORAGE_ACCOUNTS"],
        "deployedApp": before.outputs["FUNCTION_APP_NAME"],
    }

    after = deploy(storageAccounts="", **outputs)

    assert host_account(after) == host_account(before)


def test_azd_passes_what_it_knows() -> None:
    """The values come from the outputs of the last deployment, and are empty before the first."""
    values = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    outputs = deploy().outputs

    assert values["storageAccounts"]["value"] == "${STORAGE_ACCOUNTS=}"
    assert values["deployedApp"]["value"] == "${FUNCTION_APP_NAME=}"
    assert values["deployedStorageAccounts"]["value"] == "${DEPLOYED_STORAGE_ACCOUNTS=}"
    assert {"DEPLOYED_STORAGE_ACCOUNTS", "FUNCTION_APP_NAME"} <= outputs.keys()


# Two accounts


@each_variant
def test_a_new_app_has_two_accounts(variant: str) -> None:
    """The app has one role on each: to change rows, and to change the host's blobs."""
    deployment = new_app(**_VARIANTS[variant])
    registry, host = registry_account(deployment), host_account(deployment)

    assert registry != host
    assert package(deployment).endswith("package")
    assert host in package(deployment)
    assert roles(deployment, registry) == {TABLE_CONTRIBUTOR}
    assert roles(deployment, host) == {BLOB_OWNER}
    assert len(deployment.all(ACCOUNT)) == 2


def test_a_prepared_account_is_not_used_yet() -> None:
    """It exists, with the app's role on it, but the app is as it was."""
    before, prepared = deploy(storageAccounts="one"), deploy(storageAccounts="prepared")
    moved = deploy(storageAccounts="two")

    assert prepared.settings == before.settings
    assert package(prepared) == package(before)
    assert roles(prepared, host_account(moved)) == {BLOB_OWNER}


def test_the_registry_never_moves() -> None:
    """Only the host's data does: the registry is in the account of the first deployment."""
    layouts = [deploy(storageAccounts=name) for name in ("one", "prepared", "two")]

    assert {registry_account(each) for each in layouts} == {PREVIOUS["new"]["host"]}


@each_layout
def test_what_cannot_be_replaced_is_locked(storage_accounts: str) -> None:
    """The identities, the list of them and the keys can only be deleted after their lock."""
    deployment = deploy(storageAccounts=storage_accounts)
    locks = deployment.all("Microsoft.Authorization/locks")
    kinds = (ACCOUNT, "Microsoft.Communication/communicationServices")

    assert {lock.scope for lock in locks} == {
        f"{each.kind} {each.name}" for kind in kinds for each in deployment.all(kind)
    }
    assert {lock.properties["level"] for lock in locks} == {"CanNotDelete"}


def test_an_existing_acs_resource_is_not_locked() -> None:
    """The deployment changes nothing about it: no lock, no role and no log of its own."""
    scopes = [each.scope for each in new_app(**EXISTING).resources]

    assert [scope for scope in scopes if "Communication" in scope] == []


@each_layout
def test_keys_and_packages_can_be_restored(storage_accounts: str) -> None:
    """Earlier versions and deleted blobs of each account are kept for two weeks."""
    deployment = deploy(storageAccounts=storage_accounts)
    accounts = deployment.all(f"{ACCOUNT}/blobServices")

    assert [each.name for each in accounts] == [
        f"{each.name}/default" for each in deployment.all(ACCOUNT)
    ]
    for each in accounts:
        assert each.properties == {
            "isVersioningEnabled": True,
            "deleteRetentionPolicy": {"enabled": True, "days": 14},
            "containerDeleteRetentionPolicy": {"enabled": True, "days": 14},
        }


def test_old_versions_are_deleted() -> None:
    """The host writes blobs all the time. Their current versions stay."""
    for policy in new_app().all(f"{ACCOUNT}/managementPolicies"):
        [rule] = policy.properties["policy"]["rules"]

        assert rule["definition"]["actions"] == {
            "version": {"delete": {"daysAfterCreationGreaterThan": 14}}
        }


# Every resource


def test_every_account_is_closed() -> None:
    """No account has shared keys, public blobs, copies in other tenants or old TLS."""
    accounts = new_app(auditRetentionDays=30).all(ACCOUNT)

    assert len(accounts) == 3
    for account in accounts:
        assert (
            account.properties.items()
            >= {
                "allowSharedKeyAccess": False,
                "allowBlobPublicAccess": False,
                "allowCrossTenantReplication": False,
                "minimumTlsVersion": "TLS1_2",
                "supportsHttpsTrafficOnly": True,
            }.items()
        )


def test_the_app_is_closed() -> None:
    """Publishing has the same minimum TLS as the app, and there is no FTP."""
    config = new_app().one("Microsoft.Web/sites").properties["siteConfig"]

    assert (config["minTlsVersion"], config["scmMinTlsVersion"]) == ("1.2", "1.2")
    assert config["ftpsState"] == "Disabled"


def test_the_log_has_no_shared_keys() -> None:
    """Only Entra identities write to it and read it."""
    deployment = new_app()
    workspace = deployment.one("Microsoft.OperationalInsights/workspaces")

    assert workspace.properties["features"] == {"disableLocalAuth": True}
    assert deployment.one("Microsoft.Insights/components").properties["DisableLocalAuth"] is True


# The log


@each_variant
def test_changes_of_data_are_logged(variant: str) -> None:
    """Writes to the registry and to the host's blobs, and the calls of a new ACS resource."""
    deployment = new_app(**_VARIANTS[variant])
    settings = deployment.all("Microsoft.Insights/diagnosticSettings")
    logged = {
        each.scope: [log["category"] for log in each.properties["logs"] if log["enabled"]]
        for each in settings
    }
    acs = deployment.all("Microsoft.Communication/communicationServices")

    changes = ["StorageWrite", "StorageDelete"]
    assert logged == {
        f"{ACCOUNT}/tableServices {registry_account(deployment)}/default": changes,
        f"{ACCOUNT}/blobServices {host_account(deployment)}/default": changes,
        **{f"{each.kind} {each.name}": ["AuthOperational"] for each in acs},
    }
    [workspace] = {each.properties["workspaceId"] for each in settings}
    assert workspace.endswith(deployment.one("Microsoft.OperationalInsights/workspaces").name)


def test_the_audit_trail_has_both_accounts() -> None:
    """It has the changes of the registry's tables and of the host's blobs."""
    deployment = new_app(auditRetentionDays=30)
    scopes = {
        each.scope
        for each in deployment.all("Microsoft.Insights/diagnosticSettings")
        if "storageAccountId" in each.properties
    }

    assert scopes > {
        f"{ACCOUNT}/tableServices {registry_account(deployment)}/default",
        f"{ACCOUNT}/blobServices {host_account(deployment)}/default",
    }


@pytest.mark.parametrize(("cap", "quota"), [(10, 10), (1, 1), (0, -1)])
def test_daily_cap(cap: int, quota: int) -> None:
    """The log takes so many gigabytes a day. 0 is no limit."""
    workspace = new_app(dailyCapGB=cap).one("Microsoft.OperationalInsights/workspaces")

    assert workspace.properties["workspaceCapping"] == {"dailyQuotaGb": quota}


@pytest.mark.parametrize(("email", "receivers"), [("", 0), ("operators@contoso.com", 1)])
def test_an_alert_fires_before_the_cap(email: str, receivers: int) -> None:
    """It fires at 80 % of the cap, in megabytes of the last day, and operators are told."""
    rule = new_app(dailyCapGB=2, alertEmail=email).one(
        "Microsoft.Insights/scheduledQueryRules", "log-volume"
    )
    [condition] = rule.properties["criteria"]["allOf"]

    assert (rule.properties["windowSize"], rule.properties["evaluationFrequency"]) == (
        "P1D",
        "PT15M",
    )
    assert (condition["operator"], condition["threshold"]) == ("GreaterThan", 1600)
    assert len(rule.properties["actions"]["actionGroups"]) == receivers


def test_no_alert_without_a_cap() -> None:
    """Nothing can be reached."""
    rules = new_app(dailyCapGB=0).all("Microsoft.Insights/scheduledQueryRules", "log-volume")

    assert rules == []
