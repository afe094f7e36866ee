"""The folder `.local/`: the lock for one local Azure at a time, its keys, and its addresses."""

import base64
import contextlib
import fcntl
import json
import os
import secrets
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


class CannotStart(Exception):
    """Something prevents the start. The message is one line for the user."""


@dataclass(frozen=True, repr=False)
class Keys:
    """The random secrets of this machine's local Azure."""

    function_key: str
    master_key: str
    identity_header: str
    control_key: str
    acs_primary_key: str
    acs_secondary_key: str

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

    @contextlib.contextmanager
    def locked(self) -> Iterator["Workspace"]:
        """Lock the folder.

        Raises:
            CannotStart: another process has locked it.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CannotStart(
                    f"A local Azure is already running in {self.project}: stop it first."
                ) from None
            try:
                yield self
            finally:
                # The bundle stays: shells that have read `env` use it for every TLS connection.
                self.env_file.unlink(missing_ok=True)

    def keys(self) -> Keys:
        """This machine's keys. The first start generates them."""
        path = self.folder / "keys.json"
        if not path.exists():
            _write_secret(path, json.dumps(asdict(Keys.random()), indent=2))
        return Keys(**json.loads(path.read_text()))

    def write_env(self, values: Mapping[str, str]) -> None:
        """Write `env`: one assignment per line, quoted for `sh`. Reading it exports them."""
        lines = (f"{name}={shlex.quote(value)}\n" for name, value in values.items())
        # Between these two lines, the shell exports what it assigns to the programs it starts.
        _write_secret(self.env_file, f"set -a\n{''.join(lines)}set +a\n")

    def read_env(self) -> dict[str, str]:
        """The values of `env`; empty if no local Azure has written the file."""
        if not self.env_file.exists():
            return {}
        words = shlex.split(self.env_file.read_text())
        assignments = (word.partition("=") for word in words if "=" in word)
        return {name: value for name, _, value in assignments}

    @contextlib.contextmanager
    def settings_file(self, values: Mapping[str, str], port: int) -> Iterator[str]:
        """Write local.settings.json for `func start`, and remove it at the end.

        A file that a person wrote or changed is left alone. Yields a line for the user.
        """
        path = self.project / "local.settings.json"
        written = self.folder / "written-settings.json"
        if path.exists() and not (written.exists() and written.read_text() == path.read_text()):
            yield f"{path} is your own file and was not changed: it may point elsewhere."
            return
        document = {"IsEncrypted": False, "Values": values, "Host": {"LocalHttpPort": port}}
        text = json.dumps(document, indent=2) + "\n"
        _write_secret(written, text)
        _write_secret(path, text)
        try:
            yield f"settings for `func start` in {path}"
        finally:
            if path.exists() and path.read_text() == text:
                path.unlink()
            written.unlink(missing_ok=True)


def _write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read. The file is replaced as a whole."""
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
