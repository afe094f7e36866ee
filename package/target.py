"""The Python that the package is for: on this machine, and with Azure's platform."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from package import DEPENDENCIES

# The oldest Linux that Azure's images may be (glibc 2.28).
PLATFORM = "x86_64-manylinux_2_28"
UV = Path(sys.executable).parent / "uv"
# The newest first: it is what infra/main.bicep deploys by default.
KNOWN = ("3.13", "3.12", "3.11")
_TELL_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


class CannotBuild(Exception):
    """Something stands in the way; the message says it in one line."""


@dataclass(frozen=True)
class Target:
    """An interpreter of that version, without any packages."""

    version: str
    interpreter: Path

    @classmethod
    def find(cls, wanted: str | None = None) -> "Target":
        """The interpreter of this version or at this path, or the newest here that Azure runs.

        Raises:
            CannotBuild: it is not here.
        """
        for each in (wanted,) if wanted else KNOWN:
            call = ["python", "find", "--system", "--no-python-downloads", "--no-project", each]
            found = subprocess.run([UV, *call], capture_output=True, text=True, check=False)  # noqa: S603 -- our own tool
            if found.returncode == 0:
                interpreter = Path(found.stdout.strip())
                version = run([str(interpreter), "-I", "-c", _TELL_VERSION])
                return cls(version.strip(), interpreter)
        raise CannotBuild(
            f"Python {wanted or ' or '.join(KNOWN)} is missing: install it, or choose another."
        )

    @property
    def has_worker(self) -> bool:
        """Whether Azure runs this version with the worker library that is on PyPI."""
        return tuple(map(int, self.version.split("."))) >= (3, 13)

    def install(self, folder: Path, *options: str) -> None:
        """Install packages for Azure's Linux into the folder; nothing is built, all is wheels.

        Raises:
            CannotBuild: not all of them are to be had.
        """
        try:
            run(
                [
                    *(str(UV), "pip", "install", "--quiet", "--link-mode=copy"),
                    *("--python", str(self.interpreter), "--python-platform", PLATFORM),
                    *("--only-binary", ":all:", "--target", str(folder), *options),
                ],
                dict(os.environ),  # they say where packages come from
            )
        except subprocess.CalledProcessError as error:
            raise CannotBuild(f"The dependencies cannot be had: {error.stderr.strip()}") from None

    def compile(self, folder: Path) -> None:
        """Put bytecode beside every module, valid whatever times the files get when unpacked."""
        mode = "unchecked-hash"
        options = ["-q", "-j0", "-s", str(folder), "--invalidation-mode", mode]
        run([str(self.interpreter), "-m", "compileall", *options, str(folder)])

    def tell(self, program: str) -> str:
        """What a line of Python prints."""
        return run([str(self.interpreter), "-I", "-c", program])

    def run(self, script: Path, *arguments: str, libraries: Path | None = None) -> str:
        """What a script of ours prints, in a process that sees no packages but `libraries`."""
        program = f"import sys, runpy; sys.path.append({str(libraries)!r}); " if libraries else ""
        start = [str(self.interpreter), "-I", "-S", "-B"]
        if libraries is None:
            return run([*start, str(script), *arguments])
        program += f"sys.argv = sys.argv[1:]; runpy.run_path({str(script)!r}, run_name='__main__')"
        return run([*start, "-c", program, str(script), *arguments])


def site_packages(app: Path) -> Path:
    """Where the dependencies of the app in this folder are."""
    return app / DEPENDENCIES


def run(call: list[str], environ: Mapping[str, str] | None = None) -> str:
    """What a program prints, in an environment that says nothing unless it is given.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    done = subprocess.run(call, capture_output=True, text=True, check=True, env=environ or {})  # noqa: S603 -- our own calls
    return done.stdout
