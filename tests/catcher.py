"""Catches in a log what must never be in one."""

import re
from collections.abc import Iterable

# Whatever looks like it, whoever it belongs to: a JSON Web Token, a SHA-256 in hex (under which the
# registry keeps a user), an access key, a signature, a user id made of a sign-in.
_SUSPICIOUS = re.compile(
    r"eyJ[\w-]{8}|[0-9a-f]{64}|\baad/|(accesskey=|AccountKey=|Signature=)[\w+/%]{20}"
    r"|(Bearer|SharedKey) [\w-]{8}",
    re.IGNORECASE,
)


def leaks(log: str, secrets: Iterable[str]) -> list[str]:
    """The secrets that are in a log, and what looks like one; shortened, for this is logged too."""
    found = [secret for secret in secrets if secret in log]
    found += [match[0] for match in _SUSPICIOUS.finditer(log)]
    return sorted({secret[:12] for secret in found})
