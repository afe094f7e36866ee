# What the hooks share: they read this file.
# shellcheck shell=sh

stop() {
    printf 'ERROR: %s\n' "$1" >&2
    exit 1
}

# Runs az and keeps what it prints in $message.
call_az() {
    command -v az >/dev/null || stop "The Azure CLI is missing. Install it, run 'az login', and repeat the command."
    message=$(az "$@" 2>&1)
}

# Succeeds if the last call of az failed because nobody is signed in.
signed_out() {
    case $message in
    *"az login"* | *AADSTS* | *"subscription of '"*) ;;
    *) return 1 ;;
    esac
}

# Stops with az's message and $1, which says what to do.
stop_after_az() {
    if signed_out; then
        set -- "Sign in with 'az login', with an account of this subscription. azd and az sign in separately."
    fi
    stop "$message
$1"
}
