"""Answers for the local Azure what a runbook asks `az`; what it sets, it writes down for the test.

It is run by the shell of `operator.py`, which says in the environment where everything is.
"""

import json
import os
import ssl
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

# By name, without the dashes.
Options = dict[str, str]


def list_function_keys(_: Options) -> Any:
    """The keys of the Functions host stand-in."""
    return {
        "functionKeys": {"default": os.environ["FUNCTION_KEY"]},
        "masterKey": os.environ["MASTER_KEY"],
    }


def set_app_setting(options: Options) -> Any:
    """Write it down: the app is restarted with it."""
    path = Path(os.environ["APP_SETTINGS"])
    name, _, value = options["settings"].partition("=")
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    return []


def list_acs_keys(_: Options) -> Any:
    """The access keys of the ACS emulator."""
    return _shown(_control("GET", "keys"))


def regenerate_acs_key(options: Options) -> Any:
    """One of them made anew."""
    return _shown(_control("POST", f"keys/{options['key-type'].lower()}"))


def query_entities(options: Options) -> Any:
    """Rows of a table, let in by the managed identity."""
    from azure.data.tables import TableServiceClient  # noqa: PLC0415 -- no other command needs it, and it is slow
    from azure.identity import ManagedIdentityCredential  # noqa: PLC0415 -- the same

    service = TableServiceClient(
        os.environ["TABLES"],
        credential=ManagedIdentityCredential(),
        connection_verify=os.environ["SSL_CERT_FILE"],
    )
    with service, service.get_table_client(options["table-name"]) as table:
        rows = table.query_entities(options.get("filter", ""))
        return {"items": [dict(row) for row in rows], "nextMarker": {}}


COMMANDS: dict[str, Callable[[Options], Any]] = {
    "az functionapp keys list": list_function_keys,
    "az functionapp config appsettings set": set_app_setting,
    "az communication list-key": list_acs_keys,
    "az communication regenerate-key": regenerate_acs_key,
    "az storage entity query": query_entities,
}


def _shown(keys: dict[str, str]) -> dict[str, str]:
    endpoint = os.environ["ACS_ENDPOINT"]
    return {f"{name}Key": key for name, key in keys.items()} | {
        f"{name}ConnectionString": f"endpoint={endpoint}/;accesskey={key}"
        for name, key in keys.items()
    }


def _control(method: str, path: str) -> dict[str, str]:
    request = urllib.request.Request(  # noqa: S310 -- our own address
        f"{os.environ['ACS_CONTROL_URL']}/{path}",
        method=method,
        headers={"x-acs-control-key": os.environ["ACS_CONTROL_KEY"]},
    )
    tls = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
    with urllib.request.urlopen(request, context=tls) as response:  # noqa: S310 -- the same
        keys: dict[str, str] = json.loads(response.read())
    return keys


def main(arguments: list[str]) -> str:
    """What it prints: a value of the answer, or all of it as JSON."""
    first = next(at for at, each in enumerate(arguments) if each.startswith("--"))
    names = [each.removeprefix("--") for each in arguments[first::2]]
    options = dict(zip(names, arguments[first + 1 :: 2], strict=True))
    answer = COMMANDS[" ".join(["az", *arguments[:first]])](options)
    for name in filter(None, options.get("query", "").split(".")):
        answer = answer[name]
    return str(answer) if options.get("output") == "tsv" else json.dumps(answer, default=str)


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1:]) + "\n")
