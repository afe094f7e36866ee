#!/bin/sh
# Compiles the templates: compile.sh [overwrite]
#
# The compiler must find nothing: a misspelt property is only a warning, with exit code 0. Each file in
# variants/ must deploy what its snapshot says. `overwrite` makes the snapshots anew instead of comparing. The last
# line is the result. It needs jq, and the compiler: `az bicep install`, or its path in BICEP.
set -eu
cd "${0%/*}/../.."
bicep=${BICEP:-$HOME/.azure/bin/bicep}
mode=${1:-validate}
found='' missing='' different=''

# GitHub shows the line on the page of the run, too.
stop() {
    echo "${GITHUB_ACTIONS:+::error::}$1" >&2
    exit 1
}

# Reports what a command of the compiler finds in a template.
inspect() {
    findings=$("$bicep" "$@" --diagnostics-format sarif 2>&1 >/dev/null) || found=1
    printf '%s\n' "$findings" | jq --exit-status '.runs | length > 0 and all(.results == [])' >/dev/null 2>&1 || {
        printf '%s\n%s\n' "$*" "$findings" >&2
        found=1
    }
}

for template in infra/*.bicep; do
    inspect lint "$template"
done
inspect build infra/main.bicep --stdout

for variant in tests/infra/variants/*.bicepparam; do
    name=$(basename "$variant" .bicepparam)
    if [ "$mode" = validate ] && ! [ -f "${variant%.bicepparam}.snapshot.json" ]; then
        missing="$missing $name"
        continue
    fi
    "$bicep" snapshot "$variant" --mode "$mode" --location westeurope \
        --subscription-id 11111111-2222-3333-4444-555555555555 \
        --tenant-id 99999999-8888-7777-6666-555555555555 || different="$different $name"
done

remedy='Run compile.sh overwrite, or take the artifact "snapshots" of this run on GitHub; look at the difference, and commit it.'
[ -z "$found" ] || stop 'The compiler has found something in the templates: see above.'
[ "$mode" = validate ] || [ -z "$different" ] || stop "No snapshot could be made of:$different."
[ -z "$different" ] || stop "These variants deploy something else than their snapshots say:$different. $remedy"
[ -z "$missing" ] || stop "The templates compile, but these variants have no snapshot yet:$missing. $remedy"
[ "$mode" = validate ] || { echo 'The snapshots are made. Look at the difference, and commit it.' && exit; }
echo 'The compiler finds nothing, and every variant deploys what its snapshot says.'
