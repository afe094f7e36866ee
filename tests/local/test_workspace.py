"""Facts about the folder `.local/` of a local Azure."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from local.workspace import CannotStart, Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty folder."""
    workspace = Workspace(tmp_path)
    workspace.folder.mkdir()
    return workspace


def test_a_folder_keeps_its_random_keys(workspace: Workspace, tmp_path: Path) -> None:
    """Every start in a folder uses the keys of the first one. Other folders have other keys."""
    (tmp_path / "other" / ".local").mkdir(parents=True)
    first = workspace.keys()

    again, other = Workspace(workspace.project).keys(), Workspace(tmp_path / "other").keys()

    assert first == again
    assert set(vars(first).values()).isdisjoint(vars(other).values())


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text[:-20],
        lambda text: "null",
        lambda text: json.dumps({**json.loads(text), "master_key": ""}),
        lambda text: json.dumps({**json.loads(text), "acs_primary_key": "not base64"}),
        lambda text: text.replace("control_key", "other_key"),
    ],
    ids=["empty", "truncated", "no object", "empty key", "no access key", "missing key"],
)
def test_damaged_keys_are_replaced(workspace: Workspace, change: Callable[[str], str]) -> None:
    """The new ones are kept."""
    path = workspace.folder / "keys.json"
    damaged = workspace.keys()
    path.write_text(change(path.read_text()))

    new = workspace.keys()

    assert new.function_key not in ("", damaged.function_key)
    assert Workspace(workspace.project).keys() == new


@pytest.mark.parametrize("damaged", [b"", b"A='cut of", b"\xff\xfe", b"no assignment"])
def test_a_damaged_env_has_no_addresses(workspace: Workspace, damaged: bytes) -> None:
    """A half-written file counts as none."""
    workspace.env_file.write_bytes(damaged)

    assert "ACS_CONTROL_URL" not in workspace.read_env()


@pytest.mark.parametrize("content", [None, b"\xff\x00 damaged"], ids=["folder", "file"])
def test_stale_files_are_removed(workspace: Workspace, content: bytes | None) -> None:
    """A start does not find what an earlier one has left, whether it is a file or a folder."""
    for name in ("env", "ca-bundle.pem", "processes", "azurite", "lock"):
        path = workspace.folder / name
        if content is None and name != "lock":
            (path / "below").mkdir(parents=True)
        else:
            path.write_bytes(content or b"123")

    with workspace.locked():
        left = {path.name for path in workspace.folder.iterdir()}

    assert left == {"lock"}


@pytest.mark.parametrize("damaged", ["", "{", '{"Values": {}}'])
def test_settings_that_were_left_behind_are_replaced(workspace: Workspace, damaged: str) -> None:
    """They are recognised although the start that wrote them was killed; an empty file counts."""
    path = workspace.project / "local.settings.json"
    path.write_text(damaged)
    (workspace.folder / "written-settings.json").write_text(damaged)

    with workspace.settings_file({"A": "b"}, 7071):
        written = json.loads(path.read_text())

    assert written["Values"] == {"A": "b"}
    assert not path.exists()


def test_settings_that_were_edited_are_kept(workspace: Workspace) -> None:
    """An edited file belongs to its author. The next start reports that it did not change it."""
    path = workspace.project / "local.settings.json"
    with workspace.settings_file({"A": "b"}, 7071):
        changed = path.read_text().replace("b", "c")
        path.write_text(changed)

    with workspace.settings_file({"A": "d"}, 7071) as message:
        pass

    assert message == f"{path} is your own file and was not changed: it may point elsewhere."
    assert path.read_text() == changed


def test_a_folder_that_cannot_be_used_is_reported(tmp_path: Path) -> None:
    """The message says what is wrong and what to do."""
    (tmp_path / ".local").write_text("a file")

    with (
        pytest.raises(CannotStart, match=r"\.local cannot be used \(File exists\): remove"),
        Workspace(tmp_path).locked(),
    ):
        pass
