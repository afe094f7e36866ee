"""The Python version that the package is built for: its interpreter here, its platform in Azure."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tools.package import DEPENDENCIES

# The oldest Linux among Azure's images (glibc 2.28).
PLATFORM = "x86_64-manylinux_2_28"
UV = Path(sys.executable).parent / "uv"
# Newest first: infra/main.bicep deploys the newest by default.
KNOWN = ("3.13", "3.12", "3.11")
# One for each version of azure-functions in requirements.txt.
DEFAULT = ("3.13", "3.11")
_PRINT_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


class CannotBuild(Exception):
    """The package cannot be built; the message gives the reason in one line."""


@dataclass(frozen=True)
class Target:
    """A Python version and its interpreter, without any packages."""

    version: str
    interpreter: Path

    @classmethod
    def find(cls, wanted: str | None = None) -> "Target":
        """Find `wanted` (a version or a path), or the newest installed version that Azure runs.

        Raises:
            CannotBuild: it is not installed.
        """
        return cls._installed((wanted,) if wanted else KNOWN)[0]

    @classmethod
    def defaults(cls) -> list["Target"]:
        """Those of `DEFAULT` that are installed, or else the newest installed version.

        Raises:
            CannotBuild: Azure runs no installed version.
        """
        with suppress(CannotBuild):
            return cls._installed(DEFAULT)
        return [cls.find()]

    @classmethod
    def _installed(cls, wanted: Sequence[str]) -> list["Target"]:
        targets = []
        for each in wanted:
            call = ["python", "find", "--system", "--no-python-downloads", "--no-project", each]
            environ = {**os.environ, "PATH": os.pathsep.join(search_path())}
            found = subprocess.run(  # noqa: S603 -- our own tool
                [UV, *call], env=environ, capture_output=True, text=True, check=False
            )
            if found.returncode == 0:
                interpreter = Path(found.stdout.strip())
                version = run([str(interpreter), "-I", "-c", _PRINT_VERSION])
                targets.append(cls(version.strip(), interpreter))
        if not targets:
            raise CannotBuild(
                f"Python {' or '.join(wanted)} is missing: install it, or choose another."
            )
        return targets

    @property
    def has_worker(self) -> bool:
        """Whether Azure runs this version with the worker library from PyPI."""
        return tuple(map(int, self.version.split("."))) >= (3, 13)

    def install(self, folder: Path, *options: str) -> None:
        """Install packages for Azure's Linux into the folder, from wheels only.

        Raises:
            CannotBuild: a package cannot be installed.
        """
        try:
            run(
                [
                    *(str(UV), "pip", "install", "--quiet", "--link-mode=copy"),
                    *("--python", str(self.interpreter), "--python-platform", PLATFORM),
                    *("--only-binary", ":all:", "--target", str(folder), *options),
                ],
                dict(os.environ),  # may name the package index to use
            )
        except subprocess.CalledProcessError as error:
            raise CannotBuild(
                f"The dependencies could not be installed: {error.stderr.strip()}"
            ) from None

    def compile(self, folder: Path) -> None:
        """Compile every module to bytecode that stays valid when unpacking changes file times."""
        mode = "unchecked-hash"
        options = ["-q", "-j0", "-s", str(folder), "--invalidation-mode", mode]
        run([str(self.interpreter), "-m", "compileall", *options, str(folder)])

    def evaluate(self, program: str) -> str:
        """Run a line of Python and return its output."""
        return run([str(self.interpreter), "-I", "-c", program])

    def run(
        self,
        script: Path,
        *arguments: str,
        libraries: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> str:
        """Run one of our scripts in a process that sees no packages except `libraries`."""
        start = [str(self.interpreter), "-I", "-S", "-B"]
        if libraries is None:
            return run([*start, str(script), *arguments], environ)
        program = (
            f"import sys, runpy; sys.path.append({str(libraries)!r}); sys.argv = sys.argv[1:];"
            f" runpy.run_path({str(script)!r}, run_name='__main__')"
        )
        return run([*start, "-c", program, str(script), *arguments])


def search_path() -> Iterator[str]:
    """The PATH. pyenv's shims start only the selected versions: here are all of them instead."""
    for folder in map(Path, os.environ.get("PATH", "").split(os.pathsep)):
        if folder.parts[-2:] == (".pyenv", "shims"):
            yield from map(str, sorted(folder.parent.glob("versions/*/bin")))
        else:
            yield str(folder)


def site_packages(app: Path) -> Path:
    """Return the folder of an app's dependencies."""
    return app / DEPENDENCIES


def run(call: list[str], environ: Mapping[str, str] | None = None) -> str:
    """Run a program and return its output. Its environment is empty unless `environ` is given.

    Raises:
        subprocess.CalledProcessError: the program failed.
    """
    done = subprocess.run(call, capture_output=True, text=True, check=True, env=environ or {})  # noqa: S603 -- our own calls
    return done.stdout
