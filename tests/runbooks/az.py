"""Runs the `az` commands of the page against the local Azure.

`operator.py` defines the command `az` as this module. The environment has the addresses.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.stack import request_control

# By name, without the dashes.
Options = dict[str, str]


def list_function_keys(_: Options) -> Any:
    """Returns the keys of the local host."""
    return {
        "functionKeys": {"default": os.environ["FUNCTION_KEY"]},
        "masterKey": os.environ["MASTER_KEY"],
    }


def set_app_setting(options: Options) -> Any:
    """Writes the setting to a file. The operator then restarts the app."""
    path = Path(os.environ["APP_SETTINGS"])
    name, _, value = options["settings"].partition("=")
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    return []


def list_acs_keys(_: Options) -> Any:
    """Returns the access keys of the ACS emulator."""
    return _formatted(json.loads(request_control(os.environ, "GET", "keys")))


def regenerate_acs_key(options: Options) -> Any:
    """Replaces an access key of the ACS emulator."""
    path = f"keys/{options['key-type'].lower()}"
    return _formatted(json.loads(request_control(os.environ, "POST", path)))


@contextmanager
def _table(options: Options) -> Iterator[Any]:
    """The table, which is accessed with the managed identity."""
    from azure.data.tables import TableServiceClient  # noqa: PLC0415 -- slow, and only needed here
    from azure.identity import ManagedIdentityCredential  # noqa: PLC0415 -- the same

    service = TableServiceClient(
        os.environ["TABLES"],
        credential=ManagedIdentityCredential(),
        connection_verify=os.environ["SSL_CERT_FILE"],
    )
    with service, service.get_table_client(options["table-name"]) as table:
        yield table


def query_entities(options: Options) -> Any:
    """Reads rows of a table."""
    with _table(options) as table:
        rows = table.query_entities(options.get("filter", ""))
        return {"items": [dict(row) for row in rows], "nextMarker": {}}


def delete_entity(options: Options) -> Any:
    """Deletes a row of a table, whatever its version."""
    with _table(options) as table:
        table.delete_entity(options["partition-key"], options["row-key"])
    return {}


def _container(account: str, name: str) -> Path:
    """The folder with the blobs of a container."""
    return Path(os.environ["FOLDER"], "blobs", account, name)


def create_container(options: Options) -> Any:
    """Creates a container, unless it exists."""
    _container(options["account-name"], options["name"]).mkdir(parents=True, exist_ok=True)
    return {"created": True}


def download_blobs(options: Options) -> Any:
    """Copies the blobs of a container to a folder that exists."""
    source = _container(options["account-name"], options["source"])
    target = Path(os.environ["FOLDER"], options["destination"]).resolve(strict=True)
    shutil.copytree(source, target, dirs_exist_ok=True)
    return []


def upload_blobs(options: Options) -> Any:
    """Copies the files of a folder to a container that exists."""
    target = _container(options["account-name"], options["destination"]).resolve(strict=True)
    shutil.copytree(Path(os.environ["FOLDER"], options["source"]), target, dirs_exist_ok=True)
    return []


COMMANDS: dict[str, Callable[[Options], Any]] = {
    "az functionapp keys list": list_function_keys,
    "az functionapp config appsettings set": set_app_setting,
    "az communication list-key": list_acs_keys,
    "az communication regenerate-key": regenerate_acs_key,
    "az storage entity query": query_entities,
    "az storage entity delete": delete_entity,
    "az storage container create": create_container,
    "az storage blob download-batch": download_blobs,
    "az storage blob upload-batch": upload_blobs,
}


def _formatted(keys: dict[str, str]) -> dict[str, str]:
    endpoint = os.environ["ACS_ENDPOINT"]
    return {f"{name}Key": key for name, key in keys.items()} | {
        f"{name}ConnectionString": f"endpoint={endpoint}/;accesskey={key}"
        for name, key in keys.items()
    }


def main(arguments: list[str]) -> str:
    """Runs a command and returns its output: the value that `--query` selects, or all as JSON."""
    first = next(at for at, each in enumerate(arguments) if each.startswith("--"))
    names = [each.removeprefix("--") for each in arguments[first::2]]
    options = dict(zip(names, arguments[first + 1 :: 2], strict=True))
    result = COMMANDS[" ".join(["az", *arguments[:first]])](options)
    for name in filter(None, options.get("query", "").split(".")):
        result = result[name]
    return str(result) if options.get("output") == "tsv" else json.dumps(result, default=str)


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1:]) + "\n")
