"""The certificate authority of the local servers."""

import re
from pathlib import Path

import pytest

from local.servers import Authority


def _write(bundle: Path) -> list[str]:
    """Write a bundle and return its certificates."""
    Authority().write_bundle(bundle)
    return re.findall("-----BEGIN CERTIFICATE-----.+?END", bundle.read_text(), re.DOTALL)


def test_the_bundle_has_the_roots_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell that uses the bundle can still call other servers, even without SSL_CERT_FILE."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)

    certificates = _write(tmp_path / "bundle")

    assert len(certificates) > 10


def test_the_bundle_replaces_that_of_an_earlier_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell that has read the variables names the earlier bundle. Only its roots are kept."""
    bundle = tmp_path / "bundle"
    own_root = _write(tmp_path / "a company's")[0]
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "a company's"))
    first = _write(bundle)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))

    second = _write(bundle)

    assert second[0] != first[0]
    assert second[1:] == first[1:]
    assert own_root in second
