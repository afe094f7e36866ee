#!/bin/sh
# What goes wrong around a deployment: deployment.sh wait | check | locks
#
# azd runs it (see azure.yaml): wait before it publishes, check after that, and locks before `azd down`.
# deployment.ps1 does the same on Windows.
set -eu
. "${0%/*}/az.sh"

# azd's own values, and outputs of main.bicep.
group=${AZURE_RESOURCE_GROUP:-}
app=${FUNCTION_APP_NAME:-}
url=${FUNCTION_APP_URL:-}
subscription=${AZURE_SUBSCRIPTION_ID:-}

list_functions() {
    call_az functionapp function list --name "$app" --resource-group "$group" --subscription "$subscription" \
        --query '[].name' --output tsv
}

# The first publication needs a role that may be seconds old. azd does not try again.
wait() {
    seconds=${ROLES_WAIT_SECONDS:-120}
    ! list_functions || case $message in
    *"$app/"*) return 0 ;; # It has been published before.
    esac
    ! signed_out || stop_after_az ''
    echo "Waiting $seconds seconds before the first publication: new roles take a while to spread."
    echo "If it fails with 403 all the same, wait some minutes, then run 'azd deploy'."
    sleep "$seconds"
}

# The operations of openapi.json, and the functions that only the host calls.
expected() {
    grep -o '"operationId": "[a-z_]*"' openapi.json | cut -d '"' -f 4
    printf '%s\n' purge_deleted_identities warmup
}

# Sets $missing to the functions that do not exist, and $problem to why that or `health` failed.
look() {
    problem=''
    # Without it, the list of an app on Flex Consumption can remain that of before: azure-functions-host#10169.
    call_az rest --method post --output none --url "/subscriptions/$subscription/resourceGroups/$group/providers/Microsoft.Web/sites/$app/host/default/sync?api-version=2024-11-01" ||
        problem=$message
    ! signed_out || stop_after_az ''
    list_functions || { problem=$message message=''; }
    found=$(printf '%s\n' "$message" | tr -d '\r')
    missing=$(expected | while read -r function; do
        printf '%s\n' "$found" | grep -qx "$app/$function" || printf ' %s' "$function"
    done)
    [ -z "$missing" ] || return 1
    call_az rest --method get --url "$url/api/health" --skip-authorization-header --output none ||
        { problem=$message && return 1; }
}

check() {
    tries=${CHECK_TRIES:-30}
    until look; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || stop_after_check
        sleep 10
    done
    echo "Checked: every function exists, and $url/api/health responds."
}

stop_after_check() {
    [ -n "$missing" ] || stop "The app is published, and every function exists, but $url/api/health fails:
$problem
not_configured: the log line not_configured names the invalid settings. Another error: a new role may not have
spread yet. Wait some minutes, then run
azd hooks run postdeploy"
    call_az functionapp show --name "$app" --resource-group "$group" --subscription "$subscription" \
        --query properties.functionAppConfig.runtime.version --output tsv || message=3.13
    stop "The app is published, but these functions do not exist:$missing
$problem
If none exists, the app did not load. Azure may have built it for another Python than the app's, which is $message.
Publish a package that is built here:
make package PACKAGE_PYTHON=$message
rm -rf dist/package && python3 -m zipfile -e dist/acs-identity-service-python$message.zip dist/package
(cd dist/package && func azure functionapp publish $app --no-build --python)
azd hooks run postdeploy"
}

locks() {
    # Without az, azd fails with Azure's own message, after it has asked for confirmation.
    [ -n "$group" ] && command -v az >/dev/null || return 0
    call_az lock list --resource-group "$group" --subscription "$subscription" --query '[].id' --output tsv ||
        return 0
    ids=$(printf '%s\n' "$message" | tr -d '\r' | grep '^/subscriptions/') || return 0
    stop "Locks protect the data of this deployment, so 'azd down' cannot delete it. To delete everything, with all
identities and the registry, remove the locks first:
az lock delete --ids $(printf '%s\n' "$ids" | tr '\n' ' ')"
}

case ${1:-} in
wait | check | locks) "$1" ;;
*) stop "Usage: deployment.sh wait | check | locks" ;;
esac
