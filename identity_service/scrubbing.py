"""Removes secrets from the texts of libraries, before they are logged."""

import re
from collections.abc import Callable

_Replacement = str | Callable[[re.Match[str]], str]

# For each kind of secret: texts in lower case one of which is in every match, because a search for
# them is much faster; the pattern; what replaces a match. Each pattern takes time in proportion to
# the text: nothing that can extend far is tried at many positions.
_SECRETS: tuple[tuple[tuple[str, ...], re.Pattern[str], _Replacement], ...] = (
    # a user and a password in a URL
    (("://",), re.compile(r"(?<=://)\S+"), lambda found: _without_user(found[0])),
    # keys, signatures and passwords in URLs, in connection strings, in JSON and in `repr`
    (
        (
            *("?code", "&code", ";code", "?sig", "&sig", ";sig", "passw", "pwd", "secret"),
            *("_key", "-key", "apikey", "accesskey", "accountkey", "sharedkey"),
            *("sharedaccesssignature", "access_token", "refresh_token", "id_token"),
            *("identity-header", "identity_header"),
        ),
        re.compile(
            r"""((?:[?&;](?:code|sig)|password|passwd|pwd|client_?secret|api[-_]?key|functions-key
            |identity[-_]header
            |(?:access|account|shared)_?key|sharedaccesssignature|(?:access|refresh|id)_token)
            ['"]?(?:=|:[ ]?))(?:'[^']*(?:'|\Z)|"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[^\s&;'",)]+)""",
            re.IGNORECASE | re.VERBOSE,
        ),
        r"\1***",
    ),
    # credentials in headers: one of these words, then something that is not a word
    (
        ("bearer", "basic", "sharedkey", "hmac-sha256"),
        re.compile(
            r"""\b(bearer|basic|sharedkey|sharedkeylite|hmac-sha256)[ ]+
            (?=[^\s'"]{0,400}?(?:[0-9=_]|\.\w|(?-i:[a-z][A-Z])))[^\s'"]{8,}""",
            re.IGNORECASE | re.VERBOSE,
        ),
        r"\1 ***",
    ),
    # JSON Web Tokens, and other JSON in base64, such as the principal of a user
    (("eyj", "eyai", "ewog"), re.compile(r"(?:eyJ|eyAi|ewog)[\w+/=-]{12,}(?:\.[\w+/=-]*)*"), "***"),
    # SHA-256 digests: the key of a user row has one, which may be cut off
    (("u|", "u%7c"), re.compile(r"(\bu(?:\||%7c))[0-9a-f]{8,}", re.IGNORECASE), r"\1***"),
    (("",), re.compile(r"[0-9a-fA-F]{64,}"), "***"),
    # user ids of signed-in users
    (
        ("aad/", "aad%2f"),
        re.compile(r"\baad(?:/|%2F)[0-9a-f-]{36}(?:/|%2F)[^\s'\"]+", re.IGNORECASE),
        "***",
    ),
    # the users of Teams Phone, in the URLs of ACS
    (
        ("/assignments/",),
        re.compile(r"(/tenants/)[0-9a-f-]{36}(/assignments/)[0-9a-f-]{36}", re.IGNORECASE),
        r"\1***\2***",
    ),
)
# The first characters of a reason say enough.
_LONGEST_REASON = 300


def scrub(text: str) -> str:
    """The text without passwords, keys, tokens, user ids, and hashes of user ids."""
    lower = text.lower()
    for hints, pattern, replacement in _SECRETS:
        for hint in hints:
            if hint in lower:
                text = pattern.sub(replacement, text)
                break
    return text


def excerpt(text: str) -> str:
    """The beginning of a library's text, for the log.

    The text is scrubbed before it is cut, because half a secret would not be recognized.
    """
    text = " ".join(scrub(text).split())
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…"


# The beginning of an address without a user: a host, which may be in brackets, and a port.
_HOST = re.compile(
    r"""(?:\[[^\]]*\]?|[^:/?#]*)
    (?:[/?#]|:?\Z|:\d{1,5}(?:[/?#'")\]},;>…]|[.:]?\Z))""",
    re.VERBOSE,
)


def _without_user(address: str) -> str:
    """The address without everything before its last @.

    A text may be cut off before the @. Then what follows the colon is no port, unless a password
    looks like one.
    """
    _, at, rest = address.rpartition("@")
    if at:
        return f"***@{rest}"
    return rest if _HOST.match(rest) else "***"
