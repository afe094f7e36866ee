# What the hooks share: they read this file. az.sh has the same functions.
$ErrorActionPreference = 'Stop'
$script:message = ''

# Runs az, keeps what it prints in $message, and returns whether it succeeded.
function Invoke-Az {
    if (-not (Get-Command az -ErrorAction SilentlyContinue)) {
        throw "ERROR: The Azure CLI is missing. Install it, run 'az login', and repeat the command."
    }
    # Windows PowerShell turns what az writes to standard error into exceptions otherwise.
    $ErrorActionPreference = 'Continue'
    $script:message = (& az @args 2>&1 | Out-String).Trim()
    return $LASTEXITCODE -eq 0
}

# Returns whether the last call of az failed because nobody is signed in.
function Test-SignedOut {
    return $script:message -match "az login|AADSTS|subscription of '"
}

# Throws az's message and what to do.
function Stop-AfterAz([string] $remedy) {
    if (Test-SignedOut) {
        $remedy = "Sign in with 'az login', with an account of this subscription. azd and az sign in separately."
    }
    throw "ERROR: $script:message`n$remedy"
}
