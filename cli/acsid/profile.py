"""Which app to call, and with which key: from the environment, a key file, or a profile file.

Address and key always come from the same place. Otherwise the key of one app could be sent to
another one, for example when ACSID_URL is set in a shell and the key is in a profile.
"""

import ipaddress
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from acsid.failures import Failure, usage

_EXAMPLE = "https://APP.azurewebsites.net"
_GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_FIELDS = {"url", "key", "key_file"}


@dataclass(frozen=True)
class Target:
    """The app to call.

    Attributes:
        url: Its address, without `/api` and without a slash at the end.
        key: A function key. None if the command needs none.
        source: Where the address comes from, for messages.
    """

    url: str
    key: str | None = field(repr=False)
    source: str = "ACSID_URL"

    @property
    def is_loopback(self) -> bool:
        """Whether the app runs on this machine."""
        return _is_loopback(httpx.URL(self.url).host)


def find_target(
    environ: Mapping[str, str],
    profile: str | None = None,
    key_file: Path | None = None,
    *,
    needs_key: bool = True,
) -> Target:
    """Return the app that the options and the environment name.

    Raises:
        Failure: none is named, the address is not acceptable, or the key cannot be read.
    """
    chosen = profile or environ.get("ACSID_PROFILE")
    in_environment = environ.get("ACSID_URL") or environ.get("ACSID_KEY")
    if in_environment and chosen and not profile:
        raise usage(
            "Both ACSID_PROFILE and ACSID_URL or ACSID_KEY are set.",
            "Unset one of them, or choose with --profile.",
        )
    if chosen or not in_environment:
        return _from_profile(profile_path(environ), chosen, key_file, needs_key=needs_key)
    url = environ.get("ACSID_URL")
    if not url:
        raise usage("ACSID_KEY is set, but ACSID_URL is not.", f"export ACSID_URL={_EXAMPLE}")
    key = _file_key(key_file) if key_file else environ.get("ACSID_KEY")
    if needs_key and not key:
        raise usage(
            "ACSID_URL is set, but there is no key for it.", "Set ACSID_KEY, or use --key-file."
        )
    return Target(address(url, "ACSID_URL"), checked_key(key, "ACSID_KEY") if key else None)


def master_key(environ: Mapping[str, str]) -> str:
    """Return the master key, which starts the sweep.

    Raises:
        Failure: ACSID_MASTER_KEY is not set.
    """
    key = environ.get("ACSID_MASTER_KEY")
    if not key:
        raise usage(
            "The sweep needs the master key of the app, and ACSID_MASTER_KEY is not set.",
            "az functionapp keys list --query masterKey shows it.",
        )
    return checked_key(key, "ACSID_MASTER_KEY")


def profile_path(environ: Mapping[str, str]) -> Path:
    """Return where the profile file is."""
    folder = environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(folder) / "acsid" / "profiles.toml"


def address(text: str, source: str) -> str:
    """Return the address without a slash at the end.

    Raises:
        Failure: it is not the address of an app, or the key would travel unencrypted.
    """
    try:
        url = httpx.URL(text.strip())
    except httpx.InvalidURL as error:
        raise usage(f"{source} is not an address: {error}.", f"Example: {_EXAMPLE}") from error
    if url.scheme not in ("http", "https") or not url.host or url.userinfo:
        raise usage(f"{source} is not the address of an app.", f"Example: {_EXAMPLE}")
    if url.path.rstrip("/") == "/api":
        raise usage(f"{source} is the address without /api.", f"Example: {_EXAMPLE}")
    if url.path.strip("/") or url.query or url.fragment:
        raise usage(f"{source} has more than a host and a port.", f"Example: {_EXAMPLE}")
    if url.scheme == "http" and not _is_loopback(url.host):
        raise usage(
            f"{source} begins with http://, so the key would be sent unencrypted.",
            "Use https://. Plain http is accepted for this machine only (localhost, 127.0.0.1).",
        )
    return str(url.copy_with(path="/")).rstrip("/")


def checked_key(text: str, source: str) -> str:
    """Return the key without white space around it.

    Raises:
        Failure: it cannot be a key.
    """
    key = text.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise usage(f"{source} holds no key: a key is one word of ASCII characters.")
    return key


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _from_profile(
    path: Path, chosen: str | None, key_file: Path | None, *, needs_key: bool
) -> Target:
    name = chosen or "default"
    if not path.exists():
        raise usage(
            "acsid does not know which app to call."
            if chosen is None
            else f"There is no profile file {path}.",
            f"Set ACSID_URL and ACSID_KEY, or write a profile to {path}: see docs/acsid.md.",
        )
    section = _section(path, name)
    key = section.get("key")
    if key_file or "key_file" in section:
        key = _file_key(key_file or (path.parent / Path(section["key_file"]).expanduser()))
    source = f"url of profile {name}"
    if needs_key and not key:
        raise usage(f"Profile {name} in {path} has no key.", "Add key or key_file to it.")
    url = address(section["url"], source)
    return Target(url, checked_key(key, f"key of profile {name}") if key else None, source)


def _section(path: Path, name: str) -> dict[str, str]:
    try:
        document: dict[str, Any] = tomllib.loads(read_secret(path))
    except tomllib.TOMLDecodeError as error:
        raise usage(f"{path} is not valid TOML: {error}.") from error
    section = document.get(name)
    if not isinstance(section, dict):
        names = ", ".join(document) or "none"
        raise usage(f"{path} has no profile {name}.", f"It has: {names}. Choose with --profile.")
    wrong = [key for key, value in section.items() if key not in _FIELDS or type(value) is not str]
    if "url" not in section:
        wrong.append("url is missing")
    if {"key", "key_file"} <= section.keys():
        wrong.append("it has both key and key_file")
    if wrong:
        raise usage(
            f"Profile {name} in {path} is not valid: {', '.join(wrong)}.",
            "It has url, and key or key_file, each a text.",
        )
    return section


def _file_key(path: Path) -> str:
    return checked_key(read_secret(path), str(path))


def read_secret(path: Path) -> str:
    """Return the text of a file that only its owner may read.

    A pipe, such as bash's <(command), has no mode that says anything.

    Raises:
        Failure: the file cannot be read, or others can read it.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            # Windows has no such mode: the folder of the user protects the file.
            if os.name == "posix" and stat.S_ISREG(mode) and mode & _GROUP_AND_OTHERS:
                raise usage(
                    f"{path} holds a key, and other users of this machine can read it.",
                    f"chmod 600 {path}",
                )
            return file.read().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> Failure:
    reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
    return usage(f"{path} cannot be read: {reason}.")
