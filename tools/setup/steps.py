"""The steps of the installation. Python's and Node's run at the same time."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tools.setup import ROOT

# Compiling is a third of pip's time, and Python compiles what it imports. The tests start Python
# hundreds of times, some of them where it must not store bytecode, so they get all of it.
_PIP = (".venv/bin/pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile")
_COMPILE = "import compileall; compileall.compile_dir('.venv/lib', quiet=2, workers=0)"
_EXAMPLE = "examples/web"
# Folders of the example page that npm and esbuild write.
_WRITTEN = {"node_modules", "dist"}


class Failed(Exception):
    """A step did not succeed. The message has the output of its command."""


@dataclass(frozen=True)
class Step:
    """Commands that install or build something.

    Attributes:
        name: What it installs, for the user.
        folder: Where it installs that, relative to the project.
        stamps: Files that the step writes in the end, and which files or folders each of them
            depends on. The step is done while these have the same content.
        commands: The commands, which run in the project.
    """

    name: str
    folder: str
    stamps: Mapping[str, tuple[str, ...]]
    commands: tuple[tuple[str, ...], ...]

    def is_done(self) -> bool:
        """Whether an earlier start has done this step."""
        return (ROOT / self.folder).exists() and all(
            _read(ROOT / stamp) == _digest(inputs) for stamp, inputs in self.stamps.items()
        )

    def do(self) -> None:
        """Run the commands, and print one line.

        Raises:
            Failed: a command failed.
        """
        begun = time.monotonic()
        for command in self.commands:
            done = subprocess.run(  # noqa: S603 -- the commands below
                command, cwd=ROOT, capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                output = (done.stdout + done.stderr).strip()
                raise Failed(f"{output}\n{self.name}: failed. Is this machine online?")
        for stamp, inputs in self.stamps.items():
            (ROOT / stamp).write_text(_digest(inputs))
        seconds, megabytes = time.monotonic() - begun, _size(ROOT / self.folder) / 2**20
        print(f"  {self.name:<32}{seconds:4.0f} s{megabytes:6.0f} MB", flush=True)


def install(kinds: Sequence[Sequence[Step]]) -> None:
    """Do all steps: each kind in its order, all kinds at the same time.

    Raises:
        Failed: a step failed. The other kinds have ended.
    """
    names = [step.name for steps in kinds for step in steps]
    print(f"Installing, once: {', '.join(names)}", flush=True)
    with ThreadPoolExecutor() as pool:
        for running in [pool.submit(_do_all, steps) for steps in kinds]:
            running.result()


def _do_all(steps: Sequence[Step]) -> None:
    for step in steps:
        step.do()


def _python(
    name: str,
    requirements: str,
    stamps: Mapping[str, tuple[str, ...]],
    *more: tuple[str, ...],
) -> Step:
    return Step(
        name,
        ".venv",
        stamps,
        (
            (sys.executable, "-m", "venv", ".venv"),
            (*_PIP, "--requirement", requirements),
            (*_PIP, "--no-deps", "--no-build-isolation", "--editable", "./cli"),
            *more,
        ),
    )


def _node(name: str, folder: str, *options: str, stamps: Collection[str] = (".ready",)) -> Step:
    command = ("npm", "ci", "--prefix", folder, "--no-audit", "--no-fund", "--loglevel=error")
    inputs = (f"{folder}/package.json", f"{folder}/package-lock.json")
    modules = f"{folder}/node_modules"
    written = {f"{modules}/{stamp}": inputs for stamp in stamps}
    return Step(name, modules, written, ((*command, *options),))


_BUILD = Step(
    "example page: build",
    f"{_EXAMPLE}/dist",
    {f"{_EXAMPLE}/node_modules/.built": (_EXAMPLE,)},
    (("npm", "run", "build", "--prefix", _EXAMPLE, "--silent"),),
)
_RUN = {".venv/.ready-to-run": ("requirements-run.txt", "cli/pyproject.toml")}
_ALL = {".venv/.ready": ("requirements-dev.txt", "cli/pyproject.toml")}
_AZURE = _node("local Azure: npm packages", "local")
_PAGE = "example page: npm packages"
# Without what only checks the page's types.
_PAGE_TO_RUN = _node(_PAGE, _EXAMPLE, "--omit=dev", stamps=(".ready-to-run",))
_PAGE_ALL = _node(_PAGE, _EXAMPLE, stamps=(".ready", ".ready-to-run"))
TO_RUN = [
    [_python("Python packages to run", "requirements-run.txt", _RUN)],
    [_AZURE, _PAGE_TO_RUN, _BUILD],
]
# requirements-dev.txt has everything in requirements-run.txt.
EVERYTHING = [
    [
        _python(
            "Python packages",
            "requirements-dev.txt",
            _RUN | _ALL,
            (".venv/bin/python", "-c", _COMPILE),
        )
    ],
    [
        *(_AZURE, _PAGE_ALL, _BUILD),
        _node("benchmarks: npm packages", "bench/node"),
        *(
            _node(f"{name}: npm packages", f"tests/{name}")
            for name in ("sdk", "contract", "infra", "browser")
        ),
    ],
]


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _digest(inputs: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name in inputs:
        for path in sorted(_files(ROOT / name)):
            digest.update(f"{path.relative_to(ROOT / name)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for entry in path.iterdir():
        if entry.name not in _WRITTEN:
            yield from _files(entry)


def _size(folder: Path) -> int:
    """Return the bytes on the disk, as `du` counts them."""
    return sum(
        os.lstat(os.path.join(place, name)).st_blocks * 512  # noqa: PTH118 -- pathlib is slow for 10,000 files
        for place, _, names in os.walk(folder)
        for name in names
    )
