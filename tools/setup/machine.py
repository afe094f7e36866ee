"""Is everything there that cannot be installed from the registries, and are the ports free?"""

import argparse
import contextlib
import errno
import importlib.util
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence

# The options of `python -m local` for its ports, and their defaults. It cannot be asked: it imports
# packages that are not installed yet.
PORTS = {
    "--app-port": 7071,
    "--acs-port": 7072,
    "--identity-port": 7073,
    "--blob-port": 7074,
    "--queue-port": 7075,
    "--table-port": 7076,
}
# Commands of `python -m local` that do not listen on every port.
LISTENS = {
    "acs": {"--acs-port"},
    "azure": PORTS.keys() - {"--app-port"},
    "token": set[str](),
}

# What the example page's build needs: `engines` in its package.json.
NODE = "Node 20.19 or newer is needed, and not 21 or 22.0 to 22.11"
_OLDEST = (20, 19)
_UNSUPPORTED = ((21, 0), (22, 12))


def missing() -> list[str]:
    """Return a line for each thing that is missing."""
    return [*_venv(), *_node()]


def _venv() -> list[str]:
    # Debian's Python has `venv`, but not what it needs to install pip.
    if importlib.util.find_spec("ensurepip"):
        return []
    return ["Python's venv module is missing: apt-get install python3-venv"]


def _node() -> list[str]:
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return [f"{NODE}: node or npm is missing."]
    version = subprocess.run(  # noqa: S603 -- found on the path
        [node, "--version"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return [] if is_supported(version) else [f"{NODE}: this is {version or 'unusable'}."]


def is_supported(version: str) -> bool:
    """Whether this version of Node, as `v22.12.0`, will do."""
    found = re.match(r"v(\d+)\.(\d+)", version)
    if not found:
        return False
    number = (int(found[1]), int(found[2]))
    return number >= _OLDEST and not _UNSUPPORTED[0] <= number < _UNSUPPORTED[1]


def ports(arguments: Sequence[str]) -> dict[str, int]:
    """Return the ports, by option, that `python -m local` listens on with these arguments."""
    parser = argparse.ArgumentParser(prog="python -m local", add_help=False, allow_abbrev=False)
    for option, port in PORTS.items():
        parser.add_argument(option, type=int, default=port, dest=option)
    chosen, others = parser.parse_known_args(arguments)
    command = next((each for each in others if each in LISTENS), "run")
    listens = LISTENS.get(command, PORTS)
    return {option: vars(chosen)[option] for option in PORTS if option in listens}


def taken(wanted: Mapping[str, int]) -> list[str]:
    """Return a line for each port that another program has, or another option."""
    with contextlib.ExitStack() as listeners:
        return [
            f"Port {port} is in use: choose another with {option}."
            for option, port in wanted.items()
            if not _can_listen(port, listeners)
        ]


def _can_listen(port: int, listeners: contextlib.ExitStack) -> bool:
    listener = listeners.enter_context(socket.socket())
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen()
    except OSError as error:
        return error.errno != errno.EADDRINUSE
    except OverflowError:
        return True  # not a port: `python -m local` says so
    return True
