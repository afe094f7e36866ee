"""CONTRIBUTING.md: the steps of "Add an operation" work, and a missing one is noticed."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
[SECTION] = re.findall(
    r"^## Add an operation\n(.*?)^## ",
    (ROOT / "CONTRIBUTING.md").read_text("utf-8"),
    re.DOTALL | re.MULTILINE,
)
STEPS = re.findall(r"^\d\. (.+)$", SECTION, re.MULTILINE)

# The parts of the project that the steps and the checks use.
COPIED = (
    "function_app.py",
    "identity_service",
    "tools",
    "tests",
    "docs",
    "openapi.json",
    "pyproject.toml",
    "local.settings.sample.json",
)
CHECKS = (
    "tests/test_function_app.py",
    "tests/tools/test_openapi.py::test_document_is_up_to_date",
    "tests/tools/test_docs_tables.py::test_page_is_up_to_date",
    "tests/operations",
)

FUNCTION = '''

from identity_service.schemas import AgeResponse


async def get_age(identity_id: str, registry: Registry) -> AgeResponse:
    """Get the time since when an identity exists.

    Raises:
        IdentityNotFound: the registry has no such identity.
    """
    identity = await registry.read(identity_id)
    if identity is None:
        raise IdentityNotFound("The registry has no such identity.")
    return AgeResponse(since=identity.created_on)
'''
SCHEMA = '''

class AgeResponse(Response):
    """The time since when the identity exists."""

    since: Instant | None = None
'''
ROW = 'service.get("identities/{id}/age", identities.get_age, READ)\n'
TEST = '''"""Get the time since when an identity exists."""

from identity_service.operations.identities import get_age
from tests.support.world import World


async def test_an_identity_exists_since_its_creation(world: World) -> None:
    """The response has the time of the creation."""
    now = world.clock.now()
    identity_id = await world.active()

    response = await get_age(identity_id, world.registry)

    assert response.since == now
'''


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def _generate(project: Path) -> None:
    for module in ("tools.openapi", "tools.docs"):
        subprocess.run([sys.executable, "-m", module], cwd=project, check=True)  # noqa: S603 -- our own


# Each step of the page: the words by which it is recognised, and how this test follows it.
FOLLOW: list[tuple[str, Callable[[Path], None]]] = [
    (
        "`identity_service/operations/`",
        lambda project: _append(project / "identity_service/operations/identities.py", FUNCTION),
    ),
    (
        "`identity_service/schemas.py`",
        lambda project: _append(project / "identity_service/schemas.py", SCHEMA),
    ),
    ("`function_app.py`", lambda project: _append(project / "function_app.py", ROW)),
    (
        "`tests/operations/test_<operation>.py`",
        lambda project: _append(project / "tests/operations/test_get_age.py", TEST),
    ),
    ("`make openapi docs`", _generate),
]


def _copy(folder: Path) -> None:
    for name in COPIED:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("node_modules", "__pycache__")
            shutil.copytree(source, target, ignore=ignored)
        else:
            shutil.copy(source, target)


def _check(project: Path) -> subprocess.CompletedProcess[str]:
    only_new = "get_age or test_every or up_to_date"
    options = ("--quiet", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", only_new)
    return subprocess.run(  # noqa: S603 -- our own tests
        [sys.executable, "-m", "pytest", *options, *CHECKS],
        cwd=project,
        capture_output=True,
        check=False,
        text=True,
    )


def test_the_page_has_the_steps_that_this_module_follows() -> None:
    """The page has five steps, in the order of this module."""
    assert len(STEPS) == len(FOLLOW) == 5
    for step, (words, _) in zip(STEPS, FOLLOW, strict=True):
        assert words in step


def test_following_all_steps_makes_a_complete_operation(tmp_path: Path) -> None:
    """After the five steps, the checks pass."""
    _copy(tmp_path)
    for _, follow in FOLLOW:
        follow(tmp_path)

    checks = _check(tmp_path)

    assert checks.returncode == pytest.ExitCode.OK, checks.stdout


@pytest.mark.parametrize("missing", [2, 3, 4], ids=["row", "test module", "generated documents"])
def test_a_missing_step_is_noticed(missing: int, tmp_path: Path) -> None:
    """Without one of the steps, a check fails. Without the first two, nothing even loads."""
    _copy(tmp_path)
    for number, (_, follow) in enumerate(FOLLOW):
        if number != missing:
            follow(tmp_path)

    checks = _check(tmp_path)

    assert checks.returncode == pytest.ExitCode.TESTS_FAILED, checks.stdout
