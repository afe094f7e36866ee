"""With `vnetEnabled`, only the app reaches storage, through its own network."""

import pytest

from tests.infra.evaluate import Deployment, deploy

ACCOUNT = "Microsoft.Storage/storageAccounts"
ENDPOINT = "Microsoft.Network/privateEndpoints"
# The services that the app and the host use.
SERVICES = {"blob", "queue", "table"}

each_layout = pytest.mark.parametrize("storage_accounts", ["one", "prepared", "two"])


def private(**parameters: str) -> Deployment:
    """A deployment with a network."""
    return deploy(vnetEnabled=True, **parameters)


def test_without_a_network() -> None:
    """By default there is no network, and storage accepts Entra identities from anywhere."""
    deployment = deploy(storageAccounts="two")

    assert [each for each in deployment.resources if "Microsoft.Network/" in each.kind] == []
    assert deployment.one("Microsoft.Web/sites").properties["virtualNetworkSubnetId"] is None
    for account in deployment.all(ACCOUNT):
        assert account.properties["publicNetworkAccess"] == "Enabled"
        assert account.properties["networkAcls"]["defaultAction"] == "Allow"


@each_layout
def test_storage_is_closed(storage_accounts: str) -> None:
    """No account is reachable from outside."""
    for account in private(storageAccounts=storage_accounts).all(ACCOUNT):
        assert account.properties["publicNetworkAccess"] == "Disabled"
        assert account.properties["networkAcls"] == {"defaultAction": "Deny", "bypass": "None"}


def test_only_azure_monitor_writes_the_audit_trail() -> None:
    """Its account refuses all but Microsoft's services, which are in no network."""
    open_to_all, closed = (
        deploy(vnetEnabled=vnet, auditRetentionDays=30).one(ACCOUNT, "audit").properties
        for vnet in (False, True)
    )

    assert open_to_all["networkAcls"] == {"defaultAction": "Allow", "bypass": "AzureServices"}
    assert closed["networkAcls"] == {"defaultAction": "Deny", "bypass": "AzureServices"}


def test_the_app_is_in_its_subnet() -> None:
    """The subnet is delegated to Flex Consumption, and has nothing else in it."""
    deployment = private()
    network = deployment.one("Microsoft.Network/virtualNetworks")
    subnets = {each["name"]: each["properties"] for each in network.properties["subnets"]}
    app, storage = subnets["app"], subnets["storage"]
    subnet = deployment.one("Microsoft.Web/sites").properties["virtualNetworkSubnetId"]

    assert subnet.endswith(f"/virtualNetworks/{network.name}/subnets/app")
    assert [each["properties"]["serviceName"] for each in app["delegations"]] == [
        "Microsoft.App/environments"
    ]
    assert "delegations" not in storage
    assert app["addressPrefix"] != storage["addressPrefix"]


@each_layout
def test_every_used_service_has_an_endpoint(storage_accounts: str) -> None:
    """The registry's account has one for tables, the host's for blobs and queues."""
    deployment = private(storageAccounts=storage_accounts)
    host, registry = ({"blob", "queue"}, {"table"})
    first, *second = [each.name for each in deployment.all(ACCOUNT)]
    served: dict[str, set[str]] = {}
    for each in deployment.all(ENDPOINT):
        [connection] = each.properties["privateLinkServiceConnections"]
        account = connection["properties"]["privateLinkServiceId"].rpartition("/")[2]
        served.setdefault(account, set()).update(connection["properties"]["groupIds"])
        assert each.properties["subnet"]["id"].endswith("/subnets/storage")

    assert served[first] == (registry if storage_accounts == "two" else registry | host)
    assert [served[account] for account in second] == [host] * len(second)


@each_layout
def test_every_endpoint_has_its_name(storage_accounts: str) -> None:
    """The network resolves each name to the endpoint: a zone for its service, linked to it."""
    deployment = private(storageAccounts=storage_accounts)
    network = deployment.one("Microsoft.Network/virtualNetworks")
    zones = {f"privatelink.{service}.core.windows.net" for service in SERVICES}
    links = deployment.all("Microsoft.Network/privateDnsZones/virtualNetworkLinks")
    groups = deployment.all(f"{ENDPOINT}/privateDnsZoneGroups")

    assert {each.name for each in deployment.all("Microsoft.Network/privateDnsZones")} == zones
    assert {each.name.partition("/")[0] for each in links} == zones
    assert all(
        each.properties["virtualNetwork"]["id"].endswith(f"/{network.name}") for each in links
    )
    for each in deployment.all(ENDPOINT):
        [group] = [one for one in groups if one.name == f"{each.name}/default"]
        [config] = group.properties["privateDnsZoneConfigs"]
        service = each.name.rpartition("-")[2]
        zone = f"/privatelink.{service}.core.windows.net"
        assert config["properties"]["privateDnsZoneId"].endswith(zone)
    assert len(groups) == len(deployment.all(ENDPOINT))


def test_everything_else_is_the_same() -> None:
    """A network changes no setting of the app."""
    assert private().settings == deploy().settings
