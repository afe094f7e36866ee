"""Tests of the leak checker. Other tests rely on its finding nothing."""

import hashlib

import pytest

from tests.support.leaks import leaks

IDENTITY = "8:acs:11111111-2222-3333-4444-555555555555_66666666-7777-8888-9999-000000000000"
DIGEST = hashlib.sha256(b"alice").hexdigest()


@pytest.mark.parametrize(
    "line",
    [
        "got eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.e30.c2ln",
        "url=https://127.0.0.1/registry(PartitionKey='u3',RowKey='u|" + DIGEST + "')",
        "GET /registry(PartitionKey='03',RowKey='u%7C" + DIGEST + "')",
        "user aad/11111111-2222-3333-4444-555555555555/66666666-7777-8888-9999-000000000000",
        "u=aad%2F11111111-2222-3333-4444-555555555555%2F66666666-7777-8888-9999-000000000000",
        "endpoint=https://x/;accesskey=c2VjcmV0c2VjcmV0c2VjcmV0",
        "AccountName=x;AccountKey=c2VjcmV0c2VjcmV0c2VjcmV0",
        "Authorization: Bearer abcdefgh",
        "Authorization: HMAC-SHA256 SignedHeaders=host&Signature=c2VjcmV0c2VjcmV0c2VjcmV0",
        "hello bob",
    ],
)
def test_secrets_are_found(line: str) -> None:
    """A given secret is found, and so is anything that looks like one."""
    assert leaks(line, ["bob"])


def test_ids_and_hints_are_not_secrets() -> None:
    """A log may contain ids of identities, requests and invocations, and a hint with a key name."""
    log = (
        f"operation_finished identity_id={IDENTITY} upstream_request_id=Zm9vYmFyYmF6cXV4.0"
        " invocation_id=11111111-2222-3333-4444-555555555555\n"
        "acs_refused_us upstream_request_id=6KeyJ4YvmjtGPqjPkgNeFw.0\n"
        "acs_refused_us upstream_request_id=q3+AAD/0Yx7bJ2mH5sPZ0g.0\n"
        'not_configured invalid="it contains endpoint=https://…;accesskey=…"'
    )

    assert leaks(log, ["bob"]) == []
