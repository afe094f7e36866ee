"""A table service that can be stopped, and started again with its content."""

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
    """The table service of an Azurite in its own process and folder.

    Attributes:
        address: The address of the service; it stays the same after each start.
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
        """Start it with the content of its folder."""
        node = shutil.which("node")
        assert node
        command = [node, str(_SCRIPT), *_OPTIONS, *self._place]
        self._process = subprocess.Popen(  # noqa: S603 -- the local Azure's own
            command, stdin=subprocess.DEVNULL, stdout=PIPE, stderr=STDOUT, text=True
        )
        assert self._process.stdout
        output = ""
        for line in self._process.stdout:
            output += line
            if "Table service is successfully listening" in line:
                return
        raise AssertionError(output)

    def stop(self) -> None:
        """Stop it and wait until it has written everything to its folder."""
        self._process.terminate()
        self._process.communicate(timeout=PATIENCE)

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.communicate()
