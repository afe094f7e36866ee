# The app's role on an existing ACS resource: communication.ps1 check | assign | remove
#
# communication.sh explains it; this is the same for azd on Windows. It throws instead of exiting: azd runs it
# from a script of its own, which would ignore an exit code.
param([Parameter(Mandatory)] [ValidateSet('check', 'assign', 'remove')] [string] $Step)
. "$PSScriptRoot/az.ps1"

$role = '09976791-48a7-449e-bb21-39d1a415f350' # Communication and Email Service Owner
$resource = "$env:COMMUNICATION_RESOURCE_ID"
$principal = "$env:APP_PRINCIPAL_ID"
$wanted = "$env:COMMUNICATION_ROLE_ASSIGNMENT_ID"
$assigned = if ($env:ASSIGNED_COMMUNICATION_ROLE_ID) { $env:ASSIGNED_COMMUNICATION_ROLE_ID } else { 'none' }

function Set-Assigned([string] $id) {
    & azd env set ASSIGNED_COMMUNICATION_ROLE_ID $id
    if ($LASTEXITCODE -ne 0) { throw "ERROR: 'azd env set' failed." }
}

function Test-Resource {
    if (-not $resource) { return }
    $form = '^/subscriptions/[0-9a-f-]{36}/resourceGroups/[^/]+/providers/Microsoft\.Communication/communicationServices/[^/]+$'
    if ($resource -notmatch $form) {
        throw "ERROR: COMMUNICATION_RESOURCE_ID is not the id of an ACS resource: '$resource'. Get the id with`n" +
            'az communication show --name ACS --resource-group GROUP --query id --output tsv'
    }
    if ($env:AZURE_SUBSCRIPTION_ID -and $resource.Split('/')[2] -ne $env:AZURE_SUBSCRIPTION_ID) {
        throw "ERROR: COMMUNICATION_RESOURCE_ID is in another subscription than this deployment ($env:AZURE_SUBSCRIPTION_ID)."
    }
    if (-not (Invoke-Az resource show --ids $resource --output none)) {
        Stop-AfterAz 'COMMUNICATION_RESOURCE_ID must name an existing ACS resource, and you need the role Reader on it.'
    }
}

function Add-Role {
    if ($assigned -cne $wanted) { Remove-Role }
    if (-not $wanted) { return }
    Set-Assigned $wanted
    $options = @(
        '--name', $wanted.Split('/')[-1], '--assignee-object-id', $principal,
        '--assignee-principal-type', 'ServicePrincipal', '--role', $role,
        '--scope', ($wanted -replace '/providers/Microsoft\.Authorization/.*$', ''),
        '--subscription', $wanted.Split('/')[2]
    )
    if (-not (Invoke-Az role assignment create @options --output none) -and
        $script:message -notmatch 'RoleAssignmentExists|already exists') {
        Stop-AfterAz ("The app has no role on the ACS resource yet. Assigning it requires for example the role Owner or`n" +
            "Role Based Access Control Administrator on the resource. Somebody who has it can run`n" +
            "az role assignment create $options")
    }
    Write-Output "The app has its role on the ACS resource. It takes minutes to spread."
}

function Remove-Role {
    if ($assigned -eq 'none') { return }
    $subscription = $assigned.Split('/')[2]
    if (-not (Invoke-Az role assignment delete --ids $assigned --subscription $subscription --output none) -and
        $script:message -notmatch 'ResourceNotFound|ResourceGroupNotFound') {
        Stop-AfterAz ("The app's former role on the ACS resource is left. Remove a lock on the resource, then run`n" +
            "az role assignment delete --ids $assigned")
    }
    Set-Assigned 'none'
    Write-Output "Removed the role assignment $assigned."
}

switch ($Step) {
    'check' { Test-Resource }
    'assign' { Add-Role }
    'remove' { Remove-Role }
}
