#!/bin/sh
# The app's role on an existing ACS resource: communication.sh check | assign | remove
#
# azd runs it (see azure.yaml): check before a deployment, assign after it, remove after `azd down`. The
# deployment itself must not assign this role: `azd down` deletes every resource group that the deployment
# has put something into, even a role assignment. communication.ps1 does the same on Windows.
set -eu
. "${0%/*}/az.sh"

role=09976791-48a7-449e-bb21-39d1a415f350 # Communication and Email Service Owner
resource=${COMMUNICATION_RESOURCE_ID:-}
# Outputs of main.bicep.
principal=${APP_PRINCIPAL_ID:-}
wanted=${COMMUNICATION_ROLE_ASSIGNMENT_ID:-}
# What `assign` did, or none. `azd down` removes the outputs before `remove` runs, but not this.
assigned=${ASSIGNED_COMMUNICATION_ROLE_ID:-none}

lower() { printf %s "$1" | tr '[:upper:]' '[:lower:]'; }
subscription_of() { printf '%s\n' "$1" | cut -d / -f 3; }
remember() { azd env set ASSIGNED_COMMUNICATION_ROLE_ID "$1"; }

check() {
    [ -n "$resource" ] || return 0
    printf '%s\n' "$resource" | grep -Eiqx \
        '/subscriptions/[0-9a-f-]{36}/resourceGroups/[^/]+/providers/Microsoft\.Communication/communicationServices/[^/]+' ||
        stop "COMMUNICATION_RESOURCE_ID is not the id of an ACS resource: '$resource'. Get the id with
az communication show --name ACS --resource-group GROUP --query id --output tsv"
    # Before the first deployment azd may not have asked for the subscription yet. main.bicep checks it too.
    [ -z "${AZURE_SUBSCRIPTION_ID:-}" ] ||
        [ "$(lower "$(subscription_of "$resource")")" = "$(lower "$AZURE_SUBSCRIPTION_ID")" ] ||
        stop "COMMUNICATION_RESOURCE_ID is in another subscription than this deployment ($AZURE_SUBSCRIPTION_ID)."
    call_az resource show --ids "$resource" --output none ||
        stop_after_az "COMMUNICATION_RESOURCE_ID must name an existing ACS resource, and you need the role Reader on it."
}

assign() {
    [ "$assigned" = "$wanted" ] || remove
    [ -n "$wanted" ] || return 0
    # First, so that the assignment is not forgotten if this script ends between the two.
    remember "$wanted"
    # A fixed name makes the call idempotent.
    set -- --name "${wanted##*/}" --assignee-object-id "$principal" --assignee-principal-type ServicePrincipal \
        --role "$role" --scope "${wanted%/providers/Microsoft.Authorization/*}" \
        --subscription "$(subscription_of "$wanted")"
    call_az role assignment create "$@" --output none || case $message in
    # Somebody has assigned the role by hand, under another name.
    *RoleAssignmentExists* | *"already exists"*) ;;
    *) stop_after_az "The app has no role on the ACS resource yet. Assigning it requires for example the role Owner or
Role Based Access Control Administrator on the resource. Somebody who has it can run
az role assignment create $*" ;;
    esac
    echo "The app has its role on the ACS resource. It takes minutes to spread."
}

remove() {
    [ "$assigned" != none ] || return 0
    call_az role assignment delete --ids "$assigned" --subscription "$(subscription_of "$assigned")" --output none ||
        case $message in
        *ResourceNotFound* | *ResourceGroupNotFound*) ;; # The ACS resource is gone, and its assignments with it.
        *) stop_after_az "The app's former role on the ACS resource is left. Remove a lock on the resource, then run
az role assignment delete --ids $assigned" ;;
        esac
    remember none
    echo "Removed the role assignment $assigned."
}

case ${1:-} in
check | assign | remove) "$1" ;;
*) stop "Usage: communication.sh check | assign | remove" ;;
esac
