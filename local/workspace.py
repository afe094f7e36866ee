"""The folder `.local/`: the lock for one local Azure at a time, its keys, and its addresses."""

import base64
import contextlib
import fcntl
import json
import os
import secrets
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated

import msgspec

from local.children import Children

# What belongs to one start. One that was killed can leave it behind.
_STATE = ("env", "processes", "azurite")


class CannotStart(Exception):
    """Something prevents the start. The message is for the user."""


# A key for a header, and an access key in base64.
_Key = Annotated[str, msgspec.Meta(pattern="^[!-~]+$")]
_AccessKey = Annotated[str, msgspec.Meta(pattern="^(?:[A-Za-z0-9+/]{4})+[A-Za-z0-9+/]{2}==$")]


@dataclass(frozen=True, repr=False)
class Keys:
    """The random secrets of this machine's local Azure."""

    function_key: _Key
    master_key: _Key
    identity_header: _Key
    control_key: _Key
    acs_primary_key: _AccessKey
    acs_secondary_key: _AccessKey

    @classmethod
    def random(cls) -> "Keys":
        """Generate new keys."""
        acs = [base64.b64encode(secrets.token_bytes(64)).decode() for _ in range(2)]
        return cls(*(secrets.token_urlsafe(32) for _ in range(4)), *acs)


class Workspace:
    """The folder `.local/` in a project folder, for as long as one local Azure uses it."""

    def __init__(self, folder: Path) -> None:
        self.project = folder.resolve()
        self.folder = self.project / ".local"
        self.env_file = self.folder / "env"
        self.bundle = self.folder / "ca-bundle.pem"
        self.children = Children(self.folder / "processes")

    @contextlib.contextmanager
    def locked(self) -> Iterator["Workspace"]:
        """Lock the folder, and clean up after a start that was killed.

        Raises:
            CannotStart: another process has locked it, or it cannot be used.
        """
        with self._open_lock() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CannotStart(
                    f"A local Azure is already running in {self.project}: stop it first."
                ) from None
            if ended := self.children.end_leftovers():
                print(f"Ended what an earlier run has left behind: {ended} process(es).")
            remove(self.bundle)
            self._remove_state()
            try:
                yield self
            finally:
                # The bundle stays: shells that have read `env` use it for every TLS connection.
                self._remove_state()

    def _open_lock(self) -> IO[str]:
        path = self.folder / "lock"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(path, os.W_OK):
                remove(path)
            return path.open("w")
        except OSError as error:
            raise CannotStart(
                f"{error.filename} cannot be used ({error.strerror}): remove {self.folder}."
            ) from None

    def _remove_state(self) -> None:
        for name in _STATE:
            remove(self.folder / name)

    def keys(self) -> Keys:
        """This machine's keys. The first start generates them, and replaces a damaged file."""
        path = self.folder / "keys.json"
        try:
            return msgspec.json.decode(_read(path) or "", type=Keys)
        except msgspec.MsgspecError:
            keys = Keys.random()
        _write_secret(path, msgspec.json.format(msgspec.json.encode(keys), indent=2).decode())
        return keys

    def write_env(self, values: Mapping[str, str]) -> None:
        """Write `env`: one assignment per line, quoted for `sh`. Reading it exports them."""
        lines = (f"{name}={shlex.quote(value)}\n" for name, value in values.items())
        # Between these two lines, the shell exports what it assigns to the programs it starts.
        _write_secret(self.env_file, f"set -a\n{''.join(lines)}set +a\n")

    def read_env(self) -> dict[str, str]:
        """The values of `env`; empty if there is no such file or it is damaged."""
        try:
            assignments = shlex.split(_read(self.env_file) or "")
        except ValueError:
            return {}
        pairs = (each.partition("=") for each in assignments if "=" in each)
        return {name: value for name, _, value in pairs}

    @contextlib.contextmanager
    def settings_file(self, values: Mapping[str, str], port: int) -> Iterator[str]:
        """Write local.settings.json for `func start`, and remove it at the end.

        A file that a person wrote or changed is left alone. Yields a line for the user.
        """
        path = self.project / "local.settings.json"
        written = self.folder / "written-settings.json"
        if path.exists() and _read(path) != (_read(written) or ""):
            yield f"{path} is your own file and was not changed: it may point elsewhere."
            return
        document = {"IsEncrypted": False, "Values": values, "Host": {"LocalHttpPort": port}}
        text = json.dumps(document, indent=2) + "\n"
        # First, so that the two never differ if this is the last thing that happens.
        remove(path)
        _write_secret(written, text)
        _write_secret(path, text)
        try:
            yield f"settings for `func start` in {path}"
        finally:
            if _read(path) == text:
                remove(path)
            remove(written)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _read(path: Path) -> str | None:
    """The text of a file. None if it cannot be read."""
    try:
        return path.read_text()
    except (OSError, ValueError):
        return None


def _write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read. The file is replaced as a whole."""
    draft = path.with_suffix(".draft")
    remove(draft)
    if path.is_dir():
        remove(path)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
