"""The web example. tests/browser has what the page does."""

import subprocess

from tests.support.stack import ROOT


def test_types() -> None:
    """TypeScript finds no error, also in the sign-in with MSAL, which the page does not load."""
    command = ["npm", "run", "check", "--silent", "--prefix", str(ROOT / "examples" / "web")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- our own script

    assert (checked.returncode, checked.stdout) == (0, ""), checked.stderr
