"""compile.sh accepts no finding of the Bicep compiler and no difference from the snapshots.

GitHub's machines run it with the compiler. Here a stub takes its place.
"""

import os
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest

from tests.infra.bicep import FILES, INFRA, read
from tests.support.programs import required
from tools.setup.programs import program

SCRIPT = Path(__file__).parent / "compile.sh"
VARIANTS = sorted((Path(__file__).parent / "variants").glob("*.bicepparam"))
MAIN = read((INFRA / "main.bicep").read_bytes())
CLEAN = '{"runs": [{"results": []}]}'
WARNING = '{"runs": [{"results": [{"level": "warning", "ruleId": "BCP037"}]}]}'

# Records each call, and answers it with what is in the file of this name, or else like a compiler
# that finds nothing.
_STUB = f"""#!/bin/sh
folder=${{0%/*}}
echo "$@" >> "$folder/calls"
answer="$folder/$1-${{2##*/}}"
if [ "$1" = snapshot ]; then
    ! [ -f "$answer" ] || exit 1
else
    if [ -f "$answer" ]; then cat "$answer" >&2; else echo '{CLEAN}' >&2; fi
fi
"""


class Compiler:
    """Runs the script on a copy of the templates, with a stub of the compiler."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.variants = folder / "project" / "tests" / "infra" / "variants"
        shutil.copytree(INFRA, folder / "project" / "infra")
        shutil.copytree(SCRIPT.parent / "variants", self.variants)
        shutil.copy(SCRIPT, self.variants.parent)
        for variant in VARIANTS:
            (self.variants / f"{variant.stem}.snapshot.json").touch()
        (folder / "bicep").write_text(_STUB)
        (folder / "bicep").chmod(0o755)

    @property
    def calls(self) -> list[str]:
        """The calls of the compiler."""
        return (self._folder / "calls").read_text().splitlines()

    def answer(self, command: str, file: str, text: str) -> None:
        """Sets what a command prints about a file."""
        (self._folder / f"{command}-{file}").write_text(text)

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Runs the script from another folder."""
        return subprocess.run(  # noqa: S603 -- our own script
            [str(shutil.which("sh")), str(self.variants.parent / "compile.sh"), *options],
            cwd=self._folder,
            env={"BICEP": str(self._folder / "bicep"), "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def compiler(tmp_path: Path) -> Compiler:
    """A compiler that finds nothing, and variants with snapshots."""
    required(partial(program, "jq"))
    return Compiler(tmp_path)


def test_every_template_and_variant_is_compiled(compiler: Compiler) -> None:
    """Without a finding the script succeeds."""
    done = compiler.run()

    assert (done.returncode, done.stderr) == (0, "")
    assert {tuple(call.split()[:2]) for call in compiler.calls} == {
        *(("lint", f"infra/{path.name}") for path in FILES),
        ("build", "infra/main.bicep"),
        *(("snapshot", f"tests/infra/variants/{path.name}") for path in VARIANTS),
    }
    assert all("--mode validate" in call for call in compiler.calls if call.startswith("snapshot "))


@pytest.mark.parametrize("findings", [WARNING, '{"runs": []}', "not SARIF"])
def test_a_finding_fails(compiler: Compiler, findings: str) -> None:
    """A warning too, for which the compiler's exit code is 0. The message has all of it."""
    compiler.answer("lint", "app.bicep", findings)

    done = compiler.run()

    assert done.returncode == 1
    assert done.stderr == f"lint infra/app.bicep\n{findings}\n"


def test_a_finding_of_the_build_fails(compiler: Compiler) -> None:
    """The modules are compiled together with the parameters that they get."""
    compiler.answer("build", "main.bicep", WARNING)

    assert compiler.run().returncode == 1


def test_a_difference_from_a_snapshot_fails(compiler: Compiler) -> None:
    """The others are compared all the same."""
    compiler.answer("snapshot", VARIANTS[0].name, "")

    assert compiler.run().returncode == 1
    assert len([call for call in compiler.calls if call.startswith("snapshot ")]) == len(VARIANTS)


def test_a_missing_snapshot_is_made_and_fails(compiler: Compiler) -> None:
    """Somebody has to look at it and commit it."""
    (compiler.variants / f"{VARIANTS[0].stem}.snapshot.json").unlink()

    done = compiler.run()

    assert done.returncode == 1
    assert f"{VARIANTS[0].name} has no snapshot" in done.stderr
    made = [call.split()[1] for call in compiler.calls if "--mode overwrite" in call]
    assert made == [f"tests/infra/variants/{VARIANTS[0].name}"]


@pytest.mark.parametrize("path", VARIANTS, ids=lambda path: path.stem)
def test_a_variant_fits_the_template(path: Path) -> None:
    """It has the required parameters and no unknown one, and names the script's subscription."""
    text = path.read_text()
    given = set(re.findall(r"^param (\w+) =", text, re.MULTILINE))

    assert text.partition("using '")[2].partition("'")[0] == "../../../infra/main.bicep"
    assert {name for name, required in MAIN.parameters.items() if required} <= given
    assert given <= set(MAIN.parameters)
    for subscription in re.findall(r"/subscriptions/([0-9a-f-]+)", text):
        assert f"--subscription-id {subscription}" in SCRIPT.read_text()


def test_both_kinds_of_acs_resource_are_variants() -> None:
    """A new resource and an existing one are deployed by different modules."""
    assert {"communicationResourceId" in path.read_text() for path in VARIANTS} == {True, False}


@pytest.mark.parametrize("parameter", ["vnetEnabled = true", "storageAccounts = 'two'"])
def test_both_kinds_of_network_and_storage_are_variants(parameter: str) -> None:
    """Without the parameter, other resources are deployed."""
    assert {parameter in path.read_text() for path in VARIANTS} == {True, False}
