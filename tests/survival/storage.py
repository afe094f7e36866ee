"""Tables that can be stopped, and started again with what they held."""

import shutil
import subprocess
from pathlib import Path
from subprocess import PIPE, STDOUT

from local.azurite import ACCOUNT
from local.servers import HOST, listen
from tests.end_to_end.stack import ROOT

_SCRIPT = ROOT / "local/node_modules/azurite/dist/src/azurite.js"
_OPTIONS = ("--silent", "--oauth", "basic", "--disableTelemetry", "--skipApiVersionCheck")
# Seconds that it may take to stop.
PATIENCE = 60


class Tables:
    """The tables of an Azurite in a process and a folder of its own.

    Attributes:
        address: Of the service: the same after each start.
    """

    def __init__(self, folder: Path, certificate: Path, key: Path) -> None:
        with listen(0, "any port") as free:
            port = free.getsockname()[1]
        self.address = f"https://{HOST}:{port}/{ACCOUNT}"
        self._place = (
            *("--blobPort", "0", "--queuePort", "0", "--tablePort", str(port)),
            *("--location", str(folder)),
            *("--cert", str(certificate), "--key", str(key)),
        )
        self.start()

    def start(self) -> None:
        """Start it, with what the folder holds."""
        node = shutil.which("node")
        assert node
        command = [node, str(_SCRIPT), *_OPTIONS, *self._place]
        self._process = subprocess.Popen(  # noqa: S603 -- the local Azure's own
            command, stdin=subprocess.DEVNULL, stdout=PIPE, stderr=STDOUT, text=True
        )
        assert self._process.stdout
        said = ""
        for line in self._process.stdout:
            said += line
            if "Table service is successfully listening" in line:
                return
        raise AssertionError(said)

    def stop(self) -> None:
        """Ask it to stop, and wait until it has written everything down."""
        self._process.terminate()
        self._process.communicate(timeout=PATIENCE)

    def kill(self) -> None:
        """End it for sure."""
        self._process.kill()
        self._process.communicate()
