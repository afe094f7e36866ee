"""A certificate authority that lives as long as the local Azure. Its key never touches the disk."""

import os
import ssl
from pathlib import Path

import trustme


class Authority:
    """Signs one certificate for localhost, which every local server shows."""

    def __init__(self) -> None:
        self._authority = trustme.CA(organization_name="Azure on loopback")
        self._localhost = self._authority.issue_cert("localhost", "127.0.0.1", "::1")

    def server_context(self) -> ssl.SSLContext:
        """What an aiohttp server on localhost serves TLS with."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._localhost.configure_cert(context)
        return context

    def write_bundle(self, path: Path) -> None:
        """Write our CA together with this machine's own roots: a value for SSL_CERT_FILE."""
        path.write_bytes(self._authority.cert_pem.bytes() + _machine_roots())

    def write_server_files(self, certificate: Path, key: Path) -> None:
        """Write localhost's certificate and key, for a server that wants files."""
        certificate.write_bytes(b"".join(part.bytes() for part in self._localhost.cert_chain_pems))
        key.touch(mode=0o600)
        key.write_bytes(self._localhost.private_key_pem.bytes())


def _machine_roots() -> bytes:
    paths = ssl.get_default_verify_paths()
    candidates = (os.environ.get(paths.openssl_cafile_env), paths.cafile, paths.openssl_cafile)
    for candidate in candidates:
        if candidate and Path(candidate).is_file():
            return b"\n" + Path(candidate).read_bytes()
    return b""
