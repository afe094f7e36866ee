#!/bin/sh
# Compiles the templates: compile.sh [overwrite]
#
# The compiler must find nothing: a misspelt property is only a warning, with exit code 0. Each file in
# variants/ must deploy what its snapshot says. A missing snapshot is made, and fails: look at it and commit it.
# `overwrite` makes all of them anew. It needs jq, and the compiler: `az bicep install`, or its path in BICEP.
set -eu
cd "${0%/*}/../.."
bicep=${BICEP:-$HOME/.azure/bin/bicep}
mode=${1:-validate}
failed=0

# Reports what a command of the compiler finds in a template.
inspect() {
    findings=$("$bicep" "$@" --diagnostics-format sarif 2>&1 >/dev/null) || failed=1
    printf '%s\n' "$findings" | jq --exit-status '.runs | length > 0 and all(.results == [])' >/dev/null 2>&1 || {
        printf '%s\n%s\n' "$*" "$findings" >&2
        failed=1
    }
}

for template in infra/*.bicep; do
    inspect lint "$template"
done
inspect build infra/main.bicep --stdout

for variant in tests/infra/variants/*.bicepparam; do
    now=$mode
    if ! [ -f "${variant%.bicepparam}.snapshot.json" ]; then
        echo "$variant has no snapshot: look at the one that is made now, and commit it." >&2
        now=overwrite failed=1
    fi
    "$bicep" snapshot "$variant" --mode "$now" --location westeurope \
        --subscription-id 11111111-2222-3333-4444-555555555555 \
        --tenant-id 99999999-8888-7777-6666-555555555555 || failed=1
done
exit "$failed"
