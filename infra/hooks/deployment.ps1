# What goes wrong around a deployment: deployment.ps1 wait | check | locks
#
# deployment.sh explains it; this is the same for azd on Windows. It throws instead of exiting: azd runs it
# from a script of its own, which would ignore an exit code.
param([Parameter(Mandatory)] [ValidateSet('wait', 'check', 'locks')] [string] $Step)
. "$PSScriptRoot/az.ps1"

$group = "$env:AZURE_RESOURCE_GROUP"
$app = "$env:FUNCTION_APP_NAME"
$url = "$env:FUNCTION_APP_URL"
$subscription = "$env:AZURE_SUBSCRIPTION_ID"
$of = @('--resource-group', $group, '--subscription', $subscription)

function Get-Functions {
    return Invoke-Az functionapp function list --name $app @of --query '[].name' --output tsv
}

function Wait-ForRoles {
    $seconds = if ($env:ROLES_WAIT_SECONDS) { $env:ROLES_WAIT_SECONDS } else { 120 }
    if ((Get-Functions) -and $script:message.Contains("$app/")) { return }
    if (Test-SignedOut) { Stop-AfterAz '' }
    Write-Output "Waiting $seconds seconds before the first publication: new roles take a while to spread."
    Write-Output "If it fails with 403 all the same, wait some minutes, then run 'azd deploy'."
    Start-Sleep -Seconds $seconds
}

function Get-Expected {
    $operations = [regex]::Matches((Get-Content -Raw openapi.json), '"operationId": "([a-z_]*)"')
    return @($operations | ForEach-Object { $_.Groups[1].Value }) + @('purge_deleted_identities', 'warmup')
}

function Test-App {
    $script:problem = ''
    $site = "/subscriptions/$subscription/resourceGroups/$group/providers/Microsoft.Web/sites/$app"
    if (-not (Invoke-Az rest --method post --output none --url "$site/host/default/sync?api-version=2024-11-01")) {
        $script:problem = $script:message
    }
    if (Test-SignedOut) { Stop-AfterAz '' }
    if (-not (Get-Functions)) {
        $script:problem = $script:message
        $script:message = ''
    }
    $found = $script:message -split '\r?\n'
    $script:missing = @(Get-Expected | Where-Object { $found -cnotcontains "$app/$_" })
    if ($script:missing) { return $false }
    if (Invoke-Az rest --method get --url "$url/api/health" --skip-authorization-header --output none) { return $true }
    $script:problem = $script:message
    return $false
}

function Test-Publication {
    $tries = if ($env:CHECK_TRIES) { [int] $env:CHECK_TRIES } else { 30 }
    while (-not (Test-App)) {
        $tries--
        if ($tries -le 0) { Stop-AfterCheck }
        Start-Sleep -Seconds 10
    }
    Write-Output "Checked: every function exists, and $url/api/health responds."
}

function Stop-AfterCheck {
    if (-not $script:missing) {
        throw "ERROR: The app is published, and every function exists, but $url/api/health fails:`n$script:problem`n" +
            "not_configured: the log line not_configured names the invalid settings. Another error: a new role may not have`n" +
            "spread yet. Wait some minutes, then run`nazd hooks run postdeploy"
    }
    if (-not (Invoke-Az functionapp show --name $app @of --query properties.functionAppConfig.runtime.version --output tsv)) {
        $script:message = '3.13'
    }
    $version = $script:message
    throw "ERROR: The app is published, but these functions do not exist: $script:missing`n$script:problem`n" +
        "If none exists, the app did not load. Azure may have built it for another Python than the app's, which is $version.`n" +
        "Publish a package that is built here, in a shell with make:`n" +
        "make package PACKAGE_PYTHON=$version`n" +
        "rm -rf dist/package && python3 -m zipfile -e dist/acs-identity-service-python$version.zip dist/package`n" +
        "(cd dist/package && func azure functionapp publish $app --no-build --python)`n" +
        'azd hooks run postdeploy'
}

function Test-Locks {
    if (-not $group -or -not (Get-Command az -ErrorAction SilentlyContinue)) { return }
    if (-not (Invoke-Az lock list @of --query '[].id' --output tsv)) { return }
    $ids = @($script:message -split '\r?\n' | Where-Object { $_.StartsWith('/subscriptions/') })
    if (-not $ids) { return }
    throw "ERROR: Locks protect the data of this deployment, so 'azd down' cannot delete it. To delete everything, with all`n" +
        "identities and the registry, remove the locks first:`naz lock delete --ids $ids"
}

switch ($Step) {
    'wait' { Wait-ForRoles }
    'check' { Test-Publication }
    'locks' { Test-Locks }
}
