"""Secrets are removed from texts, and nothing else is."""

import time

import pytest

from identity_service.log import line
from identity_service.scrubbing import excerpt, scrub

DIGEST = "0123456789abcdef" * 4
TOKEN = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiIxIn0.c2lnbmF0dXJl-_c"
USER = "99999999-8888-7777-6666-555555555555/11111111-2222-3333-4444-555555555555"
IDENTITY = "8:acs:11111111-2222-3333-4444-555555555555_0000002a-0000-1111-2222-333333333333"

# A text, and what is left of it.
SECRETS = {
    "proxy": ("url='http://user:secret@proxy:3128', 407", "url='http://***@proxy:3128', 407"),
    "user only": ("https://secret@host/a?b=c", "https://***@host/a?b=c"),
    "encoded password": ("http://u:s%40ecret@proxy", "http://***@proxy"),
    "at sign in a password": ("http://u:s@ecret@proxy", "http://***@proxy"),
    "quotes in a password": ("http://u:s'e\"cret@proxy", "http://***@proxy"),
    "slash in a password": ("http://u:s/e/cret@proxy", "http://***@proxy"),
    "two URLs": ("http://a:secret@b https://c:secret@d", "http://***@b https://***@d"),
    "upper case": ("HTTP://U:SECRET@PROXY", "HTTP://***@PROXY"),
    "proxy_auth of aiohttp": (
        "BasicAuth(login='user', password='se cret', encoding='latin1')",
        "BasicAuth(login='user', password=***, encoding='latin1')",
    ),
    "quoted quotes": ('password="it\'s secret" x', "password=*** x"),
    "function key": ("GET /api/x?a=b&code=sec-ret==&c=d", "GET /api/x?a=b&code=***&c=d"),
    "first parameter": ("/api/x?code=secret HTTP/1.1", "/api/x?code=*** HTTP/1.1"),
    "function key in a header": (
        "{'x-functions-key': 'secret', 'a': 'b'}",
        "{'x-functions-key': ***, 'a': 'b'}",
    ),
    "header of the managed identity": (
        "{'X-IDENTITY-HEADER': 'secret', 'a': 'b'}",
        "{'X-IDENTITY-HEADER': ***, 'a': 'b'}",
    ),
    "its setting": ("IDENTITY_HEADER=secret a", "IDENTITY_HEADER=*** a"),
    "API key": ("api_key=secret a", "api_key=*** a"),
    "signature": ("?sv=2020&sig=sec%2Fret&se=2030", "?sv=2020&sig=***&se=2030"),
    "storage account": (
        "AccountName=a;AccountKey=c2VjcmV0+/==;EndpointSuffix=x",
        "AccountName=a;AccountKey=***;EndpointSuffix=x",
    ),
    "shared access signature": (
        "SharedAccessSignature=sv=2020&sig=secret",
        "SharedAccessSignature=***&sig=***",
    ),
    "ACS": ("endpoint=https://a/;accesskey=c2VjcmV0==", "endpoint=https://a/;accesskey=***"),
    "client secret": ("client_id=a&client_secret=sec.ret", "client_id=a&client_secret=***"),
    "client secret in JSON": ('"clientSecret": "sec\\"ret", "a": 1', '"clientSecret": ***, "a": 1'),
    "token in JSON": ('"access_token":"secret","a":1', '"access_token":***,"a":1'),
    "bearer": ("Authorization: Bearer secret.secret", "Authorization: Bearer ***"),
    "bearer with spaces": ("bearer   secret123", "bearer ***"),
    "basic": ("{'Authorization': 'Basic dXNlcjpzZWNyZXQ='}", "{'Authorization': 'Basic ***'}"),
    "letters only": ("Basic secretSecret", "Basic ***"),
    "SharedKey": ("SharedKey account:c2VjcmV0=", "SharedKey ***"),
    "SharedKeyLite": ("SharedKeyLite account:c2VjcmV0=", "SharedKeyLite ***"),
    "HMAC": ("HMAC-SHA256 SignedHeaders=date&Signature=secret", "HMAC-SHA256 ***"),
    "token": (f"the token {TOKEN} has expired", "the token *** has expired"),
    "token without a signature": (f"<{TOKEN.rpartition('.')[0]}.>", "<***>"),
    "principal": ("eyJhdXRoX3R5cCI6ImFhZCIs+/ImNsYWltcyI6W10=", "***"),
    "digest": (f"RowKey='u|{DIGEST}'", "RowKey='u|***'"),
    "upper-case digest": (DIGEST.upper(), "***"),
    "digest in a URL": (f"RowKey='u%7C{DIGEST}'", "RowKey='u%7C***'"),
    "user": (f"no row of aad/{USER}.", "no row of ***"),
    "user of Teams Phone": (
        f"/tenants/{USER.replace('/', '/assignments/')}?api-version=1",
        "/tenants/***/assignments/***?api-version=1",
    ),
    "user in a URL": (f"/users/aad%2F{USER.replace('/', '%2F')}", "/users/***"),
}


ORDINARY = [
    "",
    "-",
    "Use basic authentication.",
    "certificate verify failed: Basic Constraints of CA cert not marked critical",
    "a bearer of bad news, and of a token",
    "correct the key in the connection string",
    "Cannot connect to host contoso.communication.azure.com:443 ssl:default [Connection refused]",
    "https://contoso.table.core.windows.net/registry()?$top=100, mail a@b.example",
    "https://contoso.example:8443, https://contoso.example:8443/a?b=c",
    "url='http://127.0.0.1:3128'",
    "http://[::1]:3128/a and http://[2001:db8::1] and http://[2001:db8",
    "https://host: refused, https://host:443: refused, https://host?a:b, https://host/a:b",
    "(see https://host:443), <https://host:443>. https://host:443.",
    "AccountKeyAuthentication and monkeyJungle",
    f"identity_deferred identity_id={IDENTITY} code=acs_unavailable",
    "0123456789abcdef" * 3,
    "aad/alice",
    line(
        "operation_finished",
        {
            "operation": "issue_token",
            "status": 200,
            "code": "ok",
            "field": "token",
            "identity_id": IDENTITY,
            "upstream_request_id": "q8UkKWbGX0yL1ItvWMpRQw.0",
            "invocation_id": "0d3bb7f0-7c5c-4b4c-a5f8-1d2c3b4a5968",
        },
    ),
    line(
        "not_configured",
        {"invalid": "HTTPS_PROXY must be http:// or https:// with a host and, if needed, a port."},
    ),
]

SIZE = 100_000
HOSTILE = [
    "a.", "://", "://@", "@", "x://y ", "eyJ", "eyJ ", "eyJaaaaaaaaaaaaaaaa.", "ewog",
    "password", "password=", "password='", 'password="', 'password="\\', '\\"', "key=key:",
    "?code", "?code=", ";sig", "access_token", "basic ", "basic\t", "bearer aaaaaaa ",
    "bearer aaaaaaaaa", "sharedkeylite", "hmac-sha256 a", f"{'f' * 63}g", "f", "aad/", "aad%2F",
    "aad/-", " ", "\n", "\\", "'", '"', "x://[", "://a:", "://[a]:1", "u|", "u|aaaaaaa ", "u%7C",
    "/tenants/", "/assignments/",
]  # fmt: skip


@pytest.mark.parametrize(("text", "left"), list(SECRETS.values()), ids=list(SECRETS))
def test_secret_is_removed(text: str, left: str) -> None:
    """Passwords, keys, signatures, tokens, digests and user ids become ***, the rest stays."""
    assert scrub(text) == left


@pytest.mark.parametrize("text", [text for text, _ in SECRETS.values()], ids=list(SECRETS))
def test_text_can_be_scrubbed_again(text: str) -> None:
    """Records are scrubbed whose texts are scrubbed already, on one line and in quotes."""
    once = line("event", {"reason": scrub(text)})

    assert scrub(once) == once


# A text that may be cut off, the part of it that must not stay, and how much of that part is too
# short to be recognized.
CUT = {
    "proxy": ("cannot connect to http://user:passw@proxy:3128", "user:passw", 5),
    "slash in a password": ("http://user:pas/s@proxy", "user:pas/s", 5),
    "digits": ("http://user:1234567@proxy", "user:1234567", 10),
    "digits and more": ("http://user:123x@proxy", "user:123x", 8),
    "digits and a hyphen": ("http://user:12-x@proxy", "user:12-x", 7),
    "punctuation": ("http://user:$ecret@proxy", "user:$ecret", 5),
    "quoted password": ("BasicAuth(login='user', password='se cret', a=1)", "se cret", 0),
    "quoted quotes": ('password="it\'s secret"', "it's secret", 0),
    "escaped quotes": (r'"clientSecret": "sec\"ret"', r"sec\"ret", 0),
    "token in JSON": ('{"access_token":"secret","a":1}', "secret", 0),
    "storage account": ("AccountName=a;AccountKey=c2VjcmV0+/==;x", "c2VjcmV0+/==", 0),
    "function key": ("GET /api/x?code=sec-ret==&c=d", "sec-ret==", 0),
    "basic": ("{'Authorization': 'Basic dXNlcjpzZWNyZXQ='}", "dXNlcjpzZWNyZXQ=", 7),
    "token": (f"the token {TOKEN} has expired", TOKEN, 14),
    "digest": (f"RowKey='u|{DIGEST}'", DIGEST, 7),
    "digest in a URL": (f"RowKey='u%7C{DIGEST}'", DIGEST, 7),
}


@pytest.mark.parametrize(("text", "secret", "short"), list(CUT.values()), ids=list(CUT))
def test_secret_that_is_cut_off_is_removed(text: str, secret: str, short: int) -> None:
    """Wherever a library cuts a text, what has been left of a secret is removed."""
    start = text.index(secret)
    for length in range(short + 1, len(secret) + 1):
        kept = secret[:length]

        assert not scrub(text[: start + length]).endswith(kept), kept


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_unchanged(text: str) -> None:
    """Texts and event lines without a secret stay as they are."""
    assert scrub(text) == text


@pytest.mark.parametrize("part", HOSTILE)
@pytest.mark.parametrize("begin", ["", 'password="', "bearer ", "://"])
def test_hostile_text_takes_no_longer(begin: str, part: str) -> None:
    """100 KB of any text take less than a second of the processor: callers choose some texts."""
    text = begin + part * (SIZE // len(part))
    started = time.process_time()
    scrub(text)

    assert time.process_time() - started < 1


@pytest.mark.parametrize("length", range(270, 301))
def test_secret_is_removed_before_the_text_is_cut(length: int) -> None:
    """Half a secret would not be recognized."""
    text = excerpt("x" * length + " http://user:secret@proxy")

    assert "user" not in text
    assert len(text) <= 301


def test_excerpt_is_one_line() -> None:
    """White space becomes single spaces. A short text is whole."""
    assert excerpt(" one\n\ttwo  three ") == "one two three"
