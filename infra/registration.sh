#!/bin/sh
# The Entra application whose tokens the app accepts, without a secret:
#
#   registration.sh create NAME                      a new one, with the app roles for services
#   registration.sh roles CLIENT_ID                  the app roles, for one that users sign in to already
#   registration.sh scope CLIENT_ID                  the scope Identity.Use, for one that users will sign in to
#   registration.sh grant CLIENT_ID PRINCIPAL_ID ROLE...   lets a service's managed identity use roles
#
# Each can be repeated. registration/roles.json and registration/scope.json have what is written. It needs the
# Azure CLI, signed in with `az login`, and sh: on Windows use Cloud Shell, WSL or Git Bash.
set -eu

folder=${0%/*}/registration
graph=https://graph.microsoft.com/v1.0
id_form='[0-9A-Fa-f-]{36}'

stop() {
    printf 'ERROR: %s\n' "$1" >&2
    exit 1
}

# Stops unless $1 is an id. $2 says which one.
check_id() { printf '%s\n' "$1" | grep -Eqx "$id_form" || stop "'$1' is not $2: an id such as the ones of 'az ad app list' is."; }

# Runs az and prints its output, but no warning. A new object takes seconds until all of Entra knows it.
call_az() {
    for pause in 2 4 8 16 0; do
        { message=$(az "$@" 2>&1 >&3); } 3>&1 && return
        case $message in
        *"does not exist"* | *NotFound*) sleep "$pause" ;;
        *) break ;;
        esac
    done
    stop "$message"
}

# Writes a file to the application.
write() {
    call_az rest --method PATCH --url "$graph/applications(appId='$1')" \
        --headers Content-Type=application/json --body "@$folder/$2" --output none
}

# Stops if the application has values, by the query $2, other than $3. A write would remove them.
check_only() {
    values=$(call_az ad app show --id "$1" --query "$2" --output tsv)
    for value in $values; do
        case " $3 " in
        *" $value "*) ;;
        *) stop "The application has '$value' already, which this script would remove. Create another one for this app." ;;
        esac
    done
}

# Gives the application the URI that callers request tokens for. A write replaces all, so it names those that are there.
add_uri() {
    uris=$(call_az ad app show --id "$1" --query "identifierUris[]" --output tsv)
    for uri in $uris; do
        [ "$uri" != "api://$1" ] || return 0
    done
    # shellcheck disable=SC2086 -- each URI is an argument of its own
    call_az ad app update --id "$1" --identifier-uris $uris "api://$1" --output none
}

create() {
    printf '%s\n' "$1" | grep -Eqx '[A-Za-z0-9 ._-]+' || stop "A name has only letters, digits, spaces, and . _ -"
    found=$(az ad app list --filter "displayName eq '$1'" --query '[].appId' --output tsv)
    [ -z "$found" ] || stop "There is an application '$1' already. Repeat with: registration.sh roles $found"
    client=$(az ad app create --display-name "$1" --sign-in-audience AzureADMyOrg --query appId --output tsv)
    roles "$client"
}

roles() {
    check_id "$1" "the client id of an application"
    check_only "$1" "[appRoles[].value, not_null(optionalClaims.accessToken, \`[]\`)[].name][]" \
        "Identities.Read Identities.Manage Identities.Purge Tokens.Issue TeamsAccess.Manage idtyp"
    write "$1" roles.json
    add_uri "$1"
    # Only the application's service principal can be given to callers.
    az ad sp show --id "$1" --output none 2>/dev/null || call_az ad sp create --id "$1" --output none
    echo "The application is ready. Let the app accept its tokens:
azd env set SIGN_IN_CLIENT_ID $1
azd env set SERVICE_AUTHENTICATION entra
azd up"
}

scope() {
    check_id "$1" "the client id of an application"
    check_only "$1" "api.oauth2PermissionScopes[].value" Identity.Use
    write "$1" scope.json
    echo "Users can sign in with the scope api://$1/Identity.Use. Set SIGN_IN_SCOPE to Identity.Use."
}

grant() {
    client=$1
    principal=$2
    shift 2
    check_id "$client" "the client id of an application"
    check_id "$principal" "the principal id of a managed identity"
    resource=$(az ad sp show --id "$client" --query id --output tsv)
    for role in "$@"; do
        id=$(az ad sp show --id "$client" --query "appRoles[?value=='$role'].id" --output tsv)
        [ -n "$id" ] || stop "The application has no role '$role'."
        message=$(az rest --method POST --url "$graph/servicePrincipals/$resource/appRoleAssignedTo" \
            --headers Content-Type=application/json --output none \
            --body "{\"principalId\":\"$principal\",\"resourceId\":\"$resource\",\"appRoleId\":\"$id\"}" 2>&1) ||
            case $message in
            *"already exists"*) ;;
            *) stop "$message" ;;
            esac
        echo "$principal has the role $role. Its new tokens show it."
    done
}

case ${1:-}:$# in
create:2 | roles:2 | scope:2 | grant:[4-9]) "$@" ;;
*) stop "Usage: registration.sh create NAME | roles CLIENT_ID | scope CLIENT_ID | grant CLIENT_ID PRINCIPAL_ID ROLE..." ;;
esac
