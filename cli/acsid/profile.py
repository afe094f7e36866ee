"""Which app to call, and with what: from the environment, a key file, or a profile file.

An app accepts either keys or Entra tokens. Address and key, or token, always come from the same
place. Otherwise the key of one app could be sent to another one, for example when ACSID_URL is set
in a shell and the key is in a profile.
"""

import ipaddress
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from acsid.failures import Failure, usage

_EXAMPLE = "https://APP.azurewebsites.net"
_GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_FIELDS = {"url", "key", "key_file", "scope"}
_VARIABLES = ("ACSID_URL", "ACSID_KEY", "ACSID_TOKEN", "ACSID_SCOPE")
_SCOPE = re.compile(r"(api|https)://[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")


@dataclass(frozen=True)
class Target:
    """The app to call.

    Attributes:
        url: Its address, without `/api` and without a slash at the end.
        key: A function key. None if the command needs none, or the app accepts Entra tokens.
        source: Where the address comes from, for messages.
        scope: What identifies the app in Entra, to ask the Azure CLI for a token.
        token: An Entra token.
    """

    url: str
    key: str | None = field(repr=False)
    source: str = "ACSID_URL"
    scope: str | None = None
    token: str | None = field(default=None, repr=False)

    @property
    def is_loopback(self) -> bool:
        """Whether the app runs on this machine."""
        return _is_loopback(httpx.URL(self.url).host)


def find_target(
    environ: Mapping[str, str],
    profile: str | None = None,
    key_file: Path | None = None,
    *,
    entra: bool = False,
    needs_key: bool = True,
) -> Target:
    """Return the app that the options and the environment name.

    Raises:
        Failure: none is named, the address is not acceptable, or the key cannot be read.
    """
    if entra and key_file:
        raise usage("--entra needs no key: leave out --key-file.")
    chosen = profile or environ.get("ACSID_PROFILE")
    in_environment = any(environ.get(name) for name in _VARIABLES)
    if in_environment and chosen and not profile:
        raise usage(
            "Both ACSID_PROFILE and ACSID_URL or ACSID_KEY are set.",
            "Unset one of them, or choose with --profile.",
        )
    if chosen or not in_environment:
        path = profile_path(environ)
        return _from_profile(path, chosen, key_file, entra=entra, needs_key=needs_key)
    return _from_environment(environ, key_file, entra=entra, needs_key=needs_key)


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


def checked_key(text: str, source: str, what: str = "key") -> str:
    """Return the key, or the token, without white space around it.

    Raises:
        Failure: it cannot be one.
    """
    key = text.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise usage(f"{source} holds no {what}: a {what} is one word of ASCII characters.")
    return key


def checked_scope(text: str, source: str) -> str:
    """Return the scope without the `/.default` that asks for all roles.

    Raises:
        Failure: it cannot be the scope of an app.
    """
    scope = text.strip().removesuffix("/.default")
    if not _SCOPE.fullmatch(scope):
        raise usage(f"{source} is not the scope of an app.", "Example: api://CLIENT_ID")
    return scope


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _from_environment(
    environ: Mapping[str, str], key_file: Path | None, *, entra: bool, needs_key: bool
) -> Target:
    url, key, token, scope = (environ.get(name) for name in _VARIABLES)
    if not url:
        [first, *_] = [name for name in _VARIABLES if environ.get(name)]
        raise usage(f"{first} is set, but ACSID_URL is not.", f"export ACSID_URL={_EXAMPLE}")
    if (key or key_file) and (token or scope) and not entra:
        raise usage(
            "There is a key, and ACSID_TOKEN or ACSID_SCOPE is set too.",
            "Unset one of them, or choose with --entra.",
        )
    target = Target(
        address(url, "ACSID_URL"),
        None,
        scope=checked_scope(scope, "ACSID_SCOPE") if scope else None,
        token=checked_key(token, "ACSID_TOKEN", "token") if token else None,
    )
    if token or scope:
        return target
    if entra:
        raise usage(
            "--entra needs the scope of the app.",
            "export ACSID_SCOPE=api://CLIENT_ID, or set ACSID_TOKEN to a token.",
        )
    key = _file_key(key_file) if key_file else key
    if needs_key and not key:
        raise usage(
            "ACSID_URL is set, but there is no key for it.",
            "Set ACSID_KEY, use --key-file, or set ACSID_SCOPE for an app that accepts Entra.",
        )
    return replace(target, key=checked_key(key, "ACSID_KEY") if key else None)


def _from_profile(
    path: Path, chosen: str | None, key_file: Path | None, *, entra: bool, needs_key: bool
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
    source = f"url of profile {name}"
    url = address(section["url"], source)
    if "scope" in section and not key_file:
        scope = checked_scope(section["scope"], f"scope of profile {name}")
        return Target(url, None, source, scope)
    if entra:
        raise usage(f"Profile {name} in {path} has no scope.", "Add scope instead of a key.")
    key = section.get("key")
    if key_file or "key_file" in section:
        key = _file_key(key_file or (path.parent / Path(section["key_file"]).expanduser()))
    if needs_key and not key:
        raise usage(f"Profile {name} in {path} has no key.", "Add key, key_file or scope to it.")
    return Target(url, checked_key(key, f"key of profile {name}") if key else None, source)


def _section(path: Path, name: str) -> dict[str, str]:
    try:
        document: dict[str, Any] = tomllib.loads(read_secret(path))
    except tomllib.TOMLDecodeError as error:
        raise usage(f"{path} is not valid TOML: {error}.") from error
    section = document.get(name)
    if not isinstance(section, dict):
        sections = [name for name, content in document.items() if isinstance(content, dict)]
        raise usage(
            f"{path} has no profile {name}: that is a section, [{name}].",
            f"It has: {', '.join(sections) or 'none'}. Choose with --profile.",
        )
    wrong = [key for key, value in section.items() if key not in _FIELDS or type(value) is not str]
    if "url" not in section:
        wrong.append("url is missing")
    secrets = [name for name in ("key", "key_file", "scope") if name in section]
    if len(secrets) > 1:
        wrong.append(f"it has both {' and '.join(secrets)}")
    if wrong:
        raise usage(
            f"Profile {name} in {path} is not valid: {', '.join(wrong)}.",
            "It has url, and one of key, key_file and scope, each a text.",
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
