"""The folder `.local/`: one local Azure at a time, this machine's keys, and what it runs at."""

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
    """Something stands in the way; the message says it in one line."""


@dataclass(frozen=True, repr=False)
class Keys:
    """The secrets of this machine's local Azure, each random."""

    function_key: str
    master_key: str
    identity_header: str
    control_key: str
    acs_primary_key: str
    acs_secondary_key: str

    @classmethod
    def random(cls) -> "Keys":
        """Keys that nobody has had before."""
        acs = [base64.b64encode(secrets.token_bytes(64)).decode() for _ in range(2)]
        return cls(*(secrets.token_urlsafe(32) for _ in range(4)), *acs)


class Workplace:
    """`.local/` below a folder, for as long as one local Azure holds it."""

    def __init__(self, folder: Path) -> None:
        self.project = folder.resolve()
        self.folder = self.project / ".local"
        self.env_file = self.folder / "env"
        self.bundle = self.folder / "ca-bundle.pem"

    @contextlib.contextmanager
    def held(self) -> Iterator["Workplace"]:
        """Hold the folder.

        Raises:
            CannotStart: somebody else holds it.
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
                self.env_file.unlink(missing_ok=True)
                self.bundle.unlink(missing_ok=True)

    def keys(self) -> Keys:
        """This machine's keys, made at the first start."""
        path = self.folder / "keys.json"
        if not path.exists():
            write_secret(path, json.dumps(asdict(Keys.random()), indent=2))
        return Keys(**json.loads(path.read_text()))

    def write_env(self, values: Mapping[str, str]) -> None:
        """Write `env`: one assignment a line, quoted for `sh`."""
        lines = (f"{name}={shlex.quote(value)}\n" for name, value in values.items())
        write_secret(self.env_file, "".join(lines))

    def read_env(self) -> dict[str, str]:
        """What `env` says; nothing where no local Azure has written one."""
        if not self.env_file.exists():
            return {}
        assignments = shlex.split(self.env_file.read_text())
        return {name: value for name, _, value in (each.partition("=") for each in assignments)}


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
