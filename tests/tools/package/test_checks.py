"""Every check of the package fails when it should, on packages of a few small files."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tools.package import DEPENDENCIES
from tools.package.checks import (
    ALWAYS,
    BELONGS,
    LIMIT,
    Check,
    Package,
    bytecode,
    indexes_alone,
    linux,
    no_secret,
    no_test,
    only_what_belongs,
    size,
)
from tools.package.target import Target

ENTRY = """
class App:
    def get_functions(self):
        return []
app = App()
"""
ELF = b"\x7fELF" + bytes(14) + b"\x3e\x00"


@pytest.fixture
def package(tmp_path: Path) -> Package:
    """A package that passes: an app without functions, and one dependency."""
    for name in BELONGS:
        (tmp_path / name).touch()
    (tmp_path / "identity_service").unlink()
    (tmp_path / "identity_service").mkdir()
    (tmp_path / "function_app.py").write_text(ENTRY)
    dependency = tmp_path / DEPENDENCIES / "dependency"
    dependency.mkdir(parents=True)
    (dependency / "__init__.py").touch()
    (dependency / "fast.abi3.so").write_bytes(ELF)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    target = Target(version, Path(sys.executable).resolve())
    target.compile(tmp_path)
    return Package(tmp_path, LIMIT, target, set())


@pytest.mark.parametrize("check", ALWAYS)
def test_good_package_passes(check: Check, package: Package) -> None:
    """A good package passes every check."""
    assert list(check(package)) == []


@pytest.mark.parametrize("check", ALWAYS)
def test_advice(check: Check) -> None:
    """Every check has one line of advice for when it fails."""
    assert check.__doc__ is not None
    assert "\n" not in check.__doc__


@pytest.mark.parametrize(
    ("check", "name", "content"),
    [
        (only_what_belongs, "README.md", b""),
        (no_secret, "local.settings.json", b"{}"),
        (no_secret, "identity_service/.env", b""),
        (no_secret, "identity_service/server.pem", b""),
        (no_secret, "host.json", b'"AccountName=x;AccountKey=c2VjcmV0c2VjcmV0c2VjcmV0=="'),
        (no_secret, "identity_service/a.py", b"TOKEN = 'eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9'"),
        (no_secret, "identity_service/a.py", b"-----BEGIN RSA PRIVATE KEY-----"),
        (no_test, "identity_service/test_errors.py", b""),
        (no_test, f"{DEPENDENCIES}/dependency/tests/a.py", b""),
        (bytecode, "identity_service/new.py", b""),
        (bytecode, "function_app.py", b"changed = True"),
        (linux, f"{DEPENDENCIES}/dependency/mac.abi3.so", b"\xcf\xfa\xed\xfe" + bytes(16)),
        (linux, f"{DEPENDENCIES}/dependency/arm.abi3.so", ELF.replace(b"\x3e", b"\xb7")),
        (linux, f"{DEPENDENCIES}/dependency/x.cpython-39-x86_64-linux-gnu.so", ELF),
    ],
)
def test_wrong_file_is_found(check: Check, name: str, content: bytes, package: Package) -> None:
    """A check fails if the package contains a file that it forbids."""
    (package.folder / name).parent.mkdir(exist_ok=True)
    (package.folder / name).write_bytes(content)

    assert list(check(package))


def test_missing_file_is_found(package: Package) -> None:
    """A package without host.json fails."""
    (package.folder / "host.json").unlink()

    assert list(only_what_belongs(package)) == ["host.json is missing"]


def test_growth_is_found(package: Package) -> None:
    """A package above the size limit fails."""
    assert list(size(replace(package, size=LIMIT + 1)))


def test_missing_function_is_found(package: Package) -> None:
    """A package fails if a function of the source is not indexed."""
    assert list(indexes_alone(replace(package, functions={"create_identity"})))


def test_telemetry_at_start_is_found(package: Package) -> None:
    """A package fails if it imports OpenTelemetry at start, which costs a quarter of a second."""
    (package.folder / DEPENDENCIES / "opentelemetry.py").touch()
    (package.folder / "function_app.py").write_text(f"import opentelemetry\n{ENTRY}")
    package.target.compile(package.folder)

    assert list(indexes_alone(package))


@pytest.mark.parametrize("name", ["function_app.py", "identity_service/later.py"])
def test_import_from_elsewhere_is_found(
    name: str, package: Package, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A package fails if any module imports one from outside: Azure does not have that module."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "outside.py").touch()
    source = f"import sys\nsys.path.append({str(elsewhere)!r})\nimport outside\n{ENTRY}"
    (package.folder / name).write_text(source)
    package.target.compile(package.folder)

    assert list(indexes_alone(package)) == [f"outside comes from {elsewhere / 'outside.py'}"]
