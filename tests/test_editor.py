"""The dev container and the configuration of VS Code name things that exist."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tools.setup.machine import PORTS

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()


def _read(name: str) -> Any:
    return json.loads((ROOT / name).read_text())


CONTAINER = _read(".devcontainer/devcontainer.json")
TASKS = {task["label"]: task for task in _read(".vscode/tasks.json")["tasks"]}
LAUNCHES = _read(".vscode/launch.json")["configurations"]


@pytest.mark.parametrize(
    "command", [CONTAINER["postCreateCommand"], *(task["command"] for task in TASKS.values())]
)
def test_every_command_is_a_target(command: str) -> None:
    """`make` has it, with a description."""
    make, target = command.split()

    assert make == "make"
    assert re.search(rf"^{target}:.*##", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize("launch", LAUNCHES, ids=lambda launch: launch["name"])
def test_every_launch_starts_a_module_of_the_project(launch: dict[str, Any]) -> None:
    """It installs what is missing, then runs a module that exists, with the project's Python."""
    assert launch["preLaunchTask"] in TASKS
    assert importlib.util.find_spec(launch["module"])
    assert launch["python"] == "${workspaceFolder}/.venv/bin/python"


def test_f5_debugs_the_app() -> None:
    """The first configuration is the default. The app is a child process of the local Azure."""
    first = LAUNCHES[0]

    assert (first["module"], first["args"], first["subProcess"]) == ("local", [], True)


def test_the_container_forwards_every_port() -> None:
    """Each has a label."""
    ports = [*PORTS.values()]

    assert CONTAINER["forwardPorts"] == ports
    assert [*CONTAINER["portsAttributes"]] == [str(port) for port in ports]


def test_the_container_is_pinned() -> None:
    """A new version of the image or of a feature is a change of the project."""
    image = CONTAINER["image"]
    [feature] = CONTAINER["features"]

    assert re.search(r":\d+\.\d+\.\d+-3\.1[123]-\w+$", image)
    assert re.search(r"/node:\d+\.\d+\.\d+$", feature)


def test_the_container_and_the_editor_have_the_same_extensions() -> None:
    """Codespaces installs them, and VS Code recommends them."""
    installed = CONTAINER["customizations"]["vscode"]["extensions"]

    assert installed == _read(".vscode/extensions.json")["recommendations"]
