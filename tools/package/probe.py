"""Inspects an unpacked app. Runs alone in the package's own Python, without this project's modules.

Usage: python probe.py (index | index_in_worker | stale_bytecode) FOLDER, or
python probe.py cold_start FOLDER STARTED. Prints JSON.
"""

import asyncio
import importlib
import importlib.util
import json
import os
import pkgutil
import sys
import time
from types import ModuleType, SimpleNamespace

# The values that the protocol gives these names; for all other enumerations the name is enough.
# Source: https://github.com/Azure/azure-functions-language-worker-protobuf
DIRECTIONS = {"in": 0, "out": 1, "inout": 2}
# They need packages that the package may lack.
OPTIONAL = {"identity_service.metrics", "identity_service.traces"}
# PEP 552: valid by hash, and the hash is not compared with the source at run time.
_UNCHECKED_HASH = (1).to_bytes(4, "little")


def index(folder: str) -> object:
    """Import the app as the worker does: list its functions and the origin of every module.

    The modules are also those that the app imports later.
    """
    _set_path(folder)
    entry = importlib.import_module("function_app")
    functions = _functions(entry)
    for module in pkgutil.walk_packages([f"{folder}/identity_service"], "identity_service."):
        if module.name not in OPTIONAL:
            importlib.import_module(module.name)
    modules = {
        name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())
    }
    return {"functions": sorted(functions), "modules": modules}


def cold_start(folder: str, started: str) -> object:
    """Return seconds: to the index, of the import alone, and of the import with all clients.

    Args:
        folder: The app's folder.
        started: When the process was started. This clock is the same in all processes.
    """
    _set_path(folder)
    begun = time.monotonic()
    entry = importlib.import_module("function_app")
    _functions(entry)
    indexed = time.monotonic()
    asyncio.run(_connect(entry))
    connected = time.monotonic()
    return {
        "index": indexed - float(started),
        "import": indexed - begun,
        "clients": connected - begun,
    }


async def _connect(entry: ModuleType) -> None:
    """Create the clients in an event loop, as the first call does. They are never closed."""
    if hasattr(entry, "connect"):
        entry.connect()
    else:
        assert entry.services.lifecycle  # noqa: S101 -- it creates what it needs


def _functions(entry: ModuleType) -> list[str]:
    return [function.get_function_name() for function in entry.app.get_functions()]


def index_in_worker(folder: str) -> object:
    """List the functions that Microsoft's worker library finds in the app, or its error.

    azure-functions-runtime must be importable.
    """
    return asyncio.run(_start_worker(folder))


async def _start_worker(folder: str) -> object:
    """Send the requests that the host sends to a new worker, up to the functions' metadata."""
    _set_path(folder)
    worker = importlib.import_module("azure_functions_runtime")  # the app's packages come first

    start = SimpleNamespace(capabilities={}, function_app_directory=folder)
    request = SimpleNamespace(
        request=SimpleNamespace(worker_init_request=start),
        properties={"host": "127.0.0.1", "protos": Messages()},
    )
    ready = await worker.worker_init_request(request)
    response = await worker.functions_metadata_request(request)
    return {
        "status": ready.result.status,
        "error": str(getattr(ready.result, "exception", "")),
        "functions": sorted(each.name for each in response.function_metadata_results or []),
    }


class Kind(type):
    """Stands in for a protobuf message class: enumeration values are attributes of the class."""

    def __getattr__(cls, value: str) -> object:
        """Return the enumeration value of that name."""
        return DIRECTIONS.get(value, value)


class Messages:
    """Stands in for the module of protobuf classes that the host gives the worker library."""

    def __getattr__(self, name: str) -> Kind:
        """Return the message class of that name; its instances keep the fields they are given."""
        return Kind(name, (SimpleNamespace,), {})


def stale_bytecode(folder: str) -> object:
    """List the modules whose bytecode this Python would not use.

    The check must run in the package's Python: a source's hash depends on its magic number.
    """
    from pathlib import Path  # noqa: PLC0415 -- `index` is timed: it imports nothing unneeded

    stale = []
    for module in sorted(Path(folder).rglob("*.py")):
        compiled = Path(importlib.util.cache_from_source(str(module)))
        source_hash = importlib.util.source_hash(module.read_bytes())
        expected = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH + source_hash
        if not (compiled.exists() and compiled.read_bytes().startswith(expected)):
            stale.append(str(module.relative_to(folder)))
    return stale


def _set_path(folder: str) -> None:
    """Search the app's packages first and its own folder last, as the worker does."""
    sys.path[:] = [f"{folder}/.python_packages/lib/site-packages", *sys.path, folder]


PROBES = {each.__name__: each for each in (index, index_in_worker, stale_bytecode, cold_start)}

if __name__ == "__main__":
    json.dump(PROBES[sys.argv[1]](*sys.argv[2:]), sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # clients that nobody closes would complain
