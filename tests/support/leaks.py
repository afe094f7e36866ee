"""Finds secrets in a log."""

import re
from collections.abc import Iterable

# JSON Web Tokens, SHA-256 digests in hex (the registry stores user ids this way), access keys,
# signatures, and user ids of signed-in users. A token starts with alg, typ, kid or x5t in base64
# and a user id contains the tenant id: one request id in a few thousand has eyJ or AAD/ by chance.
_SUSPICIOUS = re.compile(
    r"(?-i:eyJ(hbGc|0eXA|raWQ|4NXQ)[\w-]{4})|[0-9a-f]{64}|\baad(/|%2F)[0-9a-f]{8}-"
    r"|(accesskey=|AccountKey=|Signature=)[\w+/%]{20}"
    r"|(Bearer|SharedKey) [\w-]{8}",
    re.IGNORECASE,
)


def leaks(log: str, secrets: Iterable[str]) -> list[str]:
    """Returns the given secrets that the log contains, and anything that looks like a secret.

    Each is shortened, because the result ends up in a log as well.
    """
    found = [secret for secret in secrets if secret in log]
    found += [match[0] for match in _SUSPICIOUS.finditer(log)]
    return sorted({secret[:12] for secret in found})
