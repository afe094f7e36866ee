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

from tests.infra.bicep import FILES, INFRA
from tests.infra.evaluate import Deployment, evaluate
from tests.support.programs import required
from tools.setup.programs import program

SCRIPT = Path(__file__).parent / "compile.sh"
VARIANTS = sorted((Path(__file__).parent / "variants").glob("*.bicepparam"))
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

    def run(self, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Runs the script from another folder."""
        return subprocess.run(  # noqa: S603 -- our own script
            [str(shutil.which("sh")), str(self.variants.parent / "compile.sh"), *options],
            cwd=self._folder,
            env={"BICEP": str(self._folder / "bicep"), "PATH": os.environ["PATH"], **environ},
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
    assert done.stdout.startswith("The compiler finds nothing, and every variant deploys")
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
    assert done.stderr == (
        f"lint infra/app.bicep\n{findings}\n"
        "The compiler has found something in the templates: see above.\n"
    )


def test_a_finding_of_the_build_fails(compiler: Compiler) -> None:
    """The modules are compiled together with the parameters that they get."""
    compiler.answer("build", "main.bicep", WARNING)

    assert compiler.run().returncode == 1


def test_a_difference_from_a_snapshot_fails(compiler: Compiler) -> None:
    """The others are compared all the same. The sentence names the variant and the remedy."""
    compiler.answer("snapshot", VARIANTS[0].name, "")

    done = compiler.run()

    assert done.returncode == 1
    assert f"than their snapshots say: {VARIANTS[0].stem}. Run compile.sh overwrite" in done.stderr
    assert len([call for call in compiler.calls if call.startswith("snapshot ")]) == len(VARIANTS)


def test_missing_snapshots_fail_with_one_sentence(compiler: Compiler) -> None:
    """As in the first run: the templates are right, but there is nothing to compare them with."""
    for snapshot in compiler.variants.glob("*.snapshot.json"):
        snapshot.unlink()

    done = compiler.run(GITHUB_ACTIONS="true")

    names = " ".join(path.stem for path in VARIANTS)
    [line] = done.stderr.splitlines()
    assert done.returncode == 1
    assert line.startswith(
        "::error::The templates compile, but these variants have no snapshot yet: "
        f"{names}. Run compile.sh overwrite"
    )


def test_snapshots_are_made(compiler: Compiler) -> None:
    """Those that exist are replaced."""
    done = compiler.run("overwrite")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("The snapshots are made.")
    assert [call.split()[1] for call in compiler.calls if "--mode overwrite" in call] == [
        f"tests/infra/variants/{path.name}" for path in VARIANTS
    ]


def test_a_snapshot_that_cannot_be_made_fails(compiler: Compiler) -> None:
    """For example because the parameters are refused."""
    compiler.answer("snapshot", VARIANTS[0].name, "")

    done = compiler.run("overwrite")

    assert done.returncode == 1
    assert done.stderr == f"No snapshot could be made of: {VARIANTS[0].stem}.\n"


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> list[Deployment]:
    """What each of the variants deploys."""
    file, found = tmp_path_factory.mktemp("variants") / "x.bicep", []
    for path in VARIANTS:
        text = re.sub(r"^using .*$", "", path.read_text(), flags=re.MULTILINE)
        file.write_text(re.sub(r"^param (\w+) =", r"output \1 any =", text, flags=re.MULTILINE))
        found.append(evaluate("main.bicep", evaluate(str(file), {}).outputs))
    return found


@pytest.mark.parametrize("path", VARIANTS, ids=lambda path: path.stem)
def test_a_variant_fits_the_script(path: Path) -> None:
    """It is a variant of the template, in the subscription that the script names."""
    text = path.read_text()

    assert text.partition("using '")[2].partition("'")[0] == "../../../infra/main.bicep"
    for subscription in re.findall(r"/subscriptions/([0-9a-f-]+)", text):
        assert f"--subscription-id {subscription}" in SCRIPT.read_text()


@pytest.mark.parametrize("vnet", [True, False])
@pytest.mark.parametrize("kind", ["new ACS resource", "existing ACS resource", "one", "two"])
def test_both_kinds_of_network_are_variants(
    variants: list[Deployment], kind: str, *, vnet: bool
) -> None:
    """With a new and with an existing ACS resource; with one and with two storage accounts."""
    parameters = [each.parameters for each in variants]

    kinds = {
        found
        for each in parameters
        if each["vnetEnabled"] == vnet
        for found in (
            each["storageAccounts"],
            "existing ACS resource" if each["communicationResourceId"] else "new ACS resource",
        )
    }

    assert kind in kinds


def test_every_resource_is_in_a_variant(variants: list[Deployment]) -> None:
    """No resource of the templates is without a snapshot."""
    kinds = {
        kind
        for path in FILES
        for kind in re.findall(
            r"^resource \w+ '([\w./]+)@[\w-]+' = ", path.read_text(), re.MULTILINE
        )
    }
    deployed = {each.kind for deployment in variants for each in deployment.resources}

    assert kinds <= deployed
