"""What holds for every route."""

import pytest

from tests.support.client import Client

# These return the same JSON for success and failure, and take no parameters.
REPORTS = {"ready", "openapi"}


async def test_every_operation_of_services_refuses_in_the_same_shape(api: Client) -> None:
    """A wrong id, body or query is a problem with type, title, status, code and detail."""
    replies = {}
    for function in await api.http_functions():
        if function["authLevel"] == "function" and function["name"] not in REPORTS:
            [method] = function["methods"]
            path = function["route"].replace("{id}", "wrong")
            body = {"wrong": 1} if method == "POST" else None
            query = "?wrong=1" if method == "GET" else ""
            replies[function["name"]] = await api.call(method, path + query, body)

    assert len(replies) >= 12
    codes = {reply.assert_problem(400, reply.code)["code"] for reply in replies.values()}
    assert codes == {"invalid_identity_id", "invalid_body", "invalid_query"}


async def test_a_wrong_method_is_404(api: Client) -> None:
    """The Functions host answers with an empty body. It never uses 405."""
    functions = await api.http_functions()
    used = {method for function in functions for method in function["methods"]}
    for function in functions:
        path = function["route"].replace("{id}", "wrong")
        for method in {"PUT", "PATCH", "OPTIONS"} - used:
            reply = await api.call(method, path)

            reply.assert_from_host(404)


@pytest.mark.parametrize("path", ["", "identity", "identities/a/b", "deleted-identities/a/b/c"])
async def test_an_unknown_path_is_404(api: Client, path: str) -> None:
    """The host answers with an empty body."""
    reply = await api.get(path)

    reply.assert_from_host(404)


async def test_a_key_in_the_url_is_not_repeated(api: Client) -> None:
    """It is accepted, and Location does not contain it."""
    reply = await api.call("POST", f"identities?code={api.app.function_key}", headers={})

    identity = reply.assert_success(201)
    assert reply.headers["Location"] == f"/api/identities/{identity['id']}"


@pytest.mark.parametrize("name", ["code", "Code", "CODE"])
async def test_the_name_of_a_key_in_the_url_is_case_insensitive(api: Client, name: str) -> None:
    """A list does not refuse any spelling as an unknown query parameter."""
    reply = await api.call("GET", f"identities?{name}={api.app.function_key}", headers={})

    reply.assert_success()
