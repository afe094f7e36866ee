"""Catches in a log what must never be in one."""

import re
from collections.abc import Iterable

# Whatever looks like it, whoever it belongs to: a JSON Web Token, a SHA-256 in hex (under which the
# registry keeps a user), an access key, a signature, a user id made of a sign-in. A token begins
# with alg, typ, kid or x5t in base64, a sign-in with the tenant's id: every few thousand ids of
# requests one has eyJ or AAD/ in it by chance.
_SUSPICIOUS = re.compile(
    r"(?-i:eyJ(hbGc|0eXA|raWQ|4NXQ)[\w-]{4})|[0-9a-f]{64}|\baad(/|%2F)[0-9a-f]{8}-"
    r"|(accesskey=|AccountKey=|Signature=)[\w+/%]{20}"
    r"|(Bearer|SharedKey) [\w-]{8}",
    re.IGNORECASE,
)


def leaks(log: str, secrets: Iterable[str]) -> list[str]:
    """The secrets that are in a log, and what looks like one; shortened, for this is logged too."""
    found = [secret for secret in secrets if secret in log]
    found += [match[0] for match in _SUSPICIOUS.finditer(log)]
    return sorted({secret[:12] for secret in found})
