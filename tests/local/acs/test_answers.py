"""The headers that every answer carries."""

import re

import pytest

from tests.local.acs.served import VERSION, Served


@pytest.mark.parametrize("target", [f"/identities?{VERSION}", "/identities", "/elsewhere"])
def test_every_answer_can_be_traced(acs: Served, target: str) -> None:
    """Successes, errors and unknown paths name themselves for support."""
    headers = acs.signed("POST", target).headers

    assert re.fullmatch(r"[\w+/]{22}\.0", headers["MS-CV"])
    assert re.fullmatch(r"\d+ms", headers["X-Processing-Time"])
    assert headers["X-Azure-Ref"].startswith("0")


def test_the_request_id_is_echoed(acs: Served) -> None:
    """A caller finds its own request id in the answer."""
    reply = acs.signed(
        "POST", f"/identities?{VERSION}", headers={"x-ms-client-request-id": "request-1"}
    )

    assert reply.headers["x-ms-client-request-id"] == "request-1"


def test_a_request_id_that_is_no_text_harms_nobody(acs: Served) -> None:
    """Its strange bytes come back as question marks."""
    reply = acs.signed("POST", f"/identities?{VERSION}", headers={"x-ms-client-request-id": "\xff"})

    assert (reply.status, reply.headers["x-ms-client-request-id"]) == (201, "?")


def test_no_request_id_is_made_up(acs: Served) -> None:
    """Where none came, none goes back."""
    reply = acs.signed("POST", f"/identities?{VERSION}")

    assert "x-ms-client-request-id" not in reply.headers


def test_answers_name_the_supported_versions(acs: Served) -> None:
    """All stable versions, oldest first."""
    reply = acs.signed("POST", f"/identities?{VERSION}")

    expected = "2021-03-07, 2022-06-01, 2022-10-01, 2023-10-01, 2025-06-30"
    assert reply.headers["api-supported-versions"] == expected


def test_the_exchange_names_the_versions_that_have_it(acs: Served) -> None:
    """The oldest version has no exchange."""
    reply = acs.exchange({})

    expected = "2022-06-01, 2022-10-01, 2023-10-01, 2025-06-30"
    assert reply.headers["api-supported-versions"] == expected


def test_204_has_neither_body_nor_content_type(acs: Served) -> None:
    """Revoking and deleting answer with headers only."""
    identity_id = acs.create()

    for reply in (acs.revoke(identity_id), acs.delete(identity_id)):
        assert (reply.status, reply.content) == (204, b"")
        assert "Content-Type" not in reply.headers


def test_successes_and_errors_differ_in_their_content_type(acs: Served) -> None:
    """Recorded successes name a charset, recorded errors do not."""
    success = acs.signed("POST", f"/identities?{VERSION}")
    error = acs.signed("POST", "/identities")

    assert success.headers["Content-Type"] == "application/json; charset=utf-8"
    assert error.headers["Content-Type"] == "application/json"
