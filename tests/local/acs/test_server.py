"""The headers of all responses, and unknown paths."""

import re

import pytest

from tests.local.acs.support import CREATE, VERSION, EmulatorClient


@pytest.mark.parametrize("target", [CREATE, "/identities", "/unknown"])
def test_every_response_has_tracing_headers(acs: EmulatorClient, target: str) -> None:
    """Successes, errors and unknown paths have the headers that support asks for."""
    headers = acs.signed("POST", target).headers

    assert re.fullmatch(r"[\w+/]{22}\.0", headers["MS-CV"])
    assert re.fullmatch(r"\d+ms", headers["X-Processing-Time"])
    assert headers["X-Azure-Ref"].startswith("0")


@pytest.mark.parametrize(
    ("sent", "received"), [(None, None), ("request-1", "request-1"), ("\xff", "?")]
)
def test_the_request_id_is_echoed(
    acs: EmulatorClient, sent: str | None, received: str | None
) -> None:
    """A request may have no id. Bytes that are not text come back as question marks."""
    response = acs.signed("POST", CREATE, headers={"x-ms-client-request-id": sent} if sent else {})

    assert (response.status, response.headers["x-ms-client-request-id"]) == (201, received)


def test_responses_list_the_supported_versions(acs: EmulatorClient) -> None:
    """The header lists the stable versions, oldest first. The oldest one has no exchange."""
    created, exchanged = acs.signed("POST", CREATE), acs.exchange({})

    expected = "2022-06-01, 2022-10-01, 2023-10-01, 2025-06-30, 2026-07-22, 2026-09-23"
    assert created.headers["api-supported-versions"] == f"2021-03-07, {expected}"
    assert exchanged.headers["api-supported-versions"] == expected


def test_a_204_has_neither_body_nor_content_type(acs: EmulatorClient) -> None:
    """The responses to revoke and delete have headers only."""
    identity_id = acs.create()

    for response in (acs.revoke(identity_id), acs.delete(identity_id)):
        assert (response.status, response.content) == (204, b"")
        assert "Content-Type" not in response.headers


def test_successes_and_errors_have_different_content_types(acs: EmulatorClient) -> None:
    """Recorded successes have a charset, recorded errors do not."""
    success = acs.signed("POST", CREATE)
    error = acs.signed("POST", "/identities")

    assert success.headers["Content-Type"] == "application/json; charset=utf-8"
    assert error.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/identities"), ("DELETE", "/identities/"), ("POST", "/"), ("OPTIONS", "/identities")],
)
def test_an_unknown_path_or_method_is_not_found(
    acs: EmulatorClient, method: str, target: str
) -> None:
    """There is no list operation, and a preflight is 404."""
    assert acs.signed(method, f"{target}?{VERSION}").status == 404
