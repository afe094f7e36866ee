"""Run by the package's Python: has Microsoft's worker library index the app in a folder.

Usage: python index_in_worker.py FOLDER, with azure-functions-runtime importable. Prints JSON: the
functions, or what the worker says against them. The host's messages are protobufs; the library
makes them by the classes that it is given, and these just keep what they are told.
"""

import asyncio
import importlib
import json
import sys
from types import SimpleNamespace

# The protocol's numbers; of all other enumerations only the members' names are told.
# Source: https://github.com/Azure/azure-functions-language-worker-protobuf
DIRECTIONS = {"in": 0, "out": 1, "inout": 2}


class Kind(type):
    """A message class: its enumerations' members are its attributes."""

    def __getattr__(cls, member: str) -> object:
        """The member of that name."""
        return DIRECTIONS.get(member, member)


class Messages:
    """The module of message classes, as far as anybody asks."""

    def __getattr__(self, name: str) -> Kind:
        """The message class of that name: a message has the members that it is made with."""
        return Kind(name, (SimpleNamespace,), {})


async def main(folder: str) -> None:
    """Go through what the host asks of a new worker, up to the functions' metadata."""
    sys.path[:] = [f"{folder}/.python_packages/lib/site-packages", *sys.path, folder]
    worker = importlib.import_module("azure_functions_runtime")  # the app's packages come first

    start = SimpleNamespace(capabilities={}, function_app_directory=folder)
    request = SimpleNamespace(
        request=SimpleNamespace(worker_init_request=start),
        properties={"host": "127.0.0.1", "protos": Messages()},
    )
    ready = await worker.worker_init_request(request)
    answer = await worker.functions_metadata_request(request)
    found = {
        "status": ready.result.status,
        "error": str(getattr(ready.result, "exception", "")),
        "functions": sorted(each.name for each in answer.function_metadata_results or []),
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
