#!/usr/bin/env bash
# Runs the app with `func start` on the local Azure, and sends it a few requests. Not yet tried with Core Tools.
#
# It needs `make setup` and `func`. Arguments go to `python -m local azure`.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
logs=$(mktemp -d)

finish() {
    code=$?
    trap - EXIT
    [ "$code" = 0 ] || tail -n 100 "$logs"/*
    # The processes that this script started: `func` first, while its storage still runs.
    for process in ${host:-} ${azure:-}; do
        kill "$process" 2>/dev/null && wait "$process" || true
    done
    rm -rf "$logs"
    exit "$code"
}
trap finish EXIT

PYTHONUNBUFFERED=1 python -m local azure "$@" >"$logs/azure" 2>&1 &
azure=$!
until grep -q "shell assignments" "$logs/azure"; do
    kill -0 "$azure"
    sleep 1
done
# Also for `func` itself, which reads SSL_CERT_FILE before local.settings.json.
. .local/env

func start >"$logs/func" 2>&1 &
host=$!
until curl --silent --fail --output /dev/null "$FUNCTIONS_URL/api/health"; do
    kill -0 "$host"
    [ "$SECONDS" -lt 180 ]
    sleep 1
done

call() { curl --silent --show-error --fail-with-body --header "x-functions-key: $MASTER_KEY" "$@"; }
call "$FUNCTIONS_URL/api/health"
call "$FUNCTIONS_URL/api/ready"
call "$FUNCTIONS_URL/admin/functions" | jq --exit-status --slurpfile api openapi.json '
    [$api[0].paths[][] | objects | .operationId] + ["purge_deleted_identities", "warmup"] - [.[].name] == []'
identity=$(call --request POST --data '' "$FUNCTIONS_URL/api/identities" | jq --exit-status --raw-output .id)
call --json '{"scopes": ["chat"]}' "$FUNCTIONS_URL/api/identities/$identity/tokens" | jq --exit-status '.token | length > 100'
call --request DELETE "$FUNCTIONS_URL/api/identities/$identity"
call --json '{"input": ""}' "$FUNCTIONS_URL/admin/functions/purge_deleted_identities"
for _ in $(seq 30); do
    grep -q sweep_finished "$logs/func" && exit
    sleep 1
done
echo "The sweep has not finished." >&2
exit 1
