"""`python -m tools.setup.programs`: finds and installs the programs that only tests need.

They are a browser, curl and jq. As root on Debian and Ubuntu, apt-get installs them. Elsewhere
Playwright downloads a browser of its own, and curl and jq are left to the user.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

_BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
_OWN = """\
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    print(playwright.chromium.executable_path)
"""


def program(name: str) -> str:
    """Return the path of a program.

    Raises:
        FileNotFoundError: it is missing; the message says how to install it.
    """
    found = shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is missing: apt-get install {name}")
    return found


def browser() -> str:
    """Return the path of a browser that starts: CHROMIUM, or the system's, or Playwright's own.

    Raises:
        FileNotFoundError: there is none; the message says how to install one.
    """
    for path in _candidates():
        if _starts(path):
            return path
    raise FileNotFoundError(
        "No browser starts. Install Chromium or Chrome, or set CHROMIUM to the path of one, or run"
        " .venv/bin/playwright install --with-deps chromium"
    )


def _candidates() -> Iterator[str]:
    named = os.environ.get("CHROMIUM")
    yield from filter(None, map(shutil.which, [named] if named else _BROWSERS))
    if not named:
        yield _output(sys.executable, "-c", _OWN)


def _starts(path: str) -> bool:
    """Whether it does more than exist: Ubuntu has a placeholder, or libraries may be missing."""
    return Path(path).is_file() and bool(_output(path, "--version"))


def _output(*command: str) -> str:
    """Return the output of a command, or nothing if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- see above
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _lacking() -> dict[str, str]:
    """Return what is missing, by its name in Debian, with how to install it."""
    reasons = {}
    for name in ("chromium", "curl", "jq"):
        try:
            browser() if name == "chromium" else program(name)
        except FileNotFoundError as reason:
            reasons[name] = str(reason)
    return reasons


def commands(
    names: Collection[str], is_root: bool, is_ubuntu: bool, has_apt: bool
) -> list[tuple[str, ...]]:
    """Return the commands that install these programs, as far as they can be installed."""
    download = (sys.executable, "-m", "playwright", "install")
    if not (is_root and has_apt):
        return [(*download, "chromium")] if "chromium" in names else []
    found: list[tuple[str, ...]] = []
    packages = list(names)
    if is_ubuntu and "chromium" in packages:
        # Ubuntu's package only refers to a snap, which containers cannot install.
        packages.remove("chromium")
        found.append((*download, "--with-deps", "chromium"))
    if packages:
        found.append(("apt-get", "update", "--quiet=2"))
        found.append(("apt-get", "install", "--quiet=2", "--yes", *packages))
    return found


def _is_ubuntu() -> bool:
    release = Path("/etc/os-release")
    return release.exists() and "ID=ubuntu" in release.read_text().splitlines()


def _run(*command: str) -> None:
    print("Installing:", *command, flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 -- see above
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith(("E: ", "Error: "))]
        print(*errors[-1:], f"That failed: exit code {done.returncode}.", sep="\n", file=sys.stderr)


def main() -> int:
    """Install what is missing. The exit code is always 0: pytest decides what that means."""
    if lacking := _lacking():
        has_apt = shutil.which("apt-get") is not None
        for command in commands(lacking, os.geteuid() == 0, _is_ubuntu(), has_apt):
            _run(*command)
        for reason in _lacking().values():
            print(f"Some tests will be skipped. {reason}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
