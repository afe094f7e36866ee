"""The calls of Microsoft's quickstart, and what holds of every answer."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.quickstart import claims
from tests.end_to_end.client import CHAT, OF_ANOTHER_RESOURCE, Api, Control, Reply
from tests.end_to_end.conftest import StartApp
from tests.end_to_end.stack import Azure

WRONG_ID = "identities/wrong"
WRONG_DELETED_ID = "deleted-identities/wrong"
# Of every operation: how it is called, and a call that it refuses, with the answer.
ROUTES: dict[str, tuple[str, str, object, int, str]] = {
    "create_identity": ("POST", "identities", {"no": 1}, 400, "invalid_body"),
    "create_identity_with_token": ("POST", "identities/with-token", {}, 400, "invalid_body"),
    "issue_token": ("POST", f"{WRONG_ID}/tokens", CHAT, 400, "invalid_identity_id"),
    "revoke_tokens": ("DELETE", f"{WRONG_ID}/tokens", None, 400, "invalid_identity_id"),
    "delete_identity": ("DELETE", WRONG_ID, None, 400, "invalid_identity_id"),
    "list_identities": ("GET", "identities?no=1", None, 400, "invalid_query"),
    "get_identity": ("GET", WRONG_ID, None, 400, "invalid_identity_id"),
    "list_deleted_identities": ("GET", "deleted-identities?no=1", None, 400, "invalid_query"),
    "get_deleted_identity": ("GET", WRONG_DELETED_ID, None, 400, "invalid_identity_id"),
    "restore_identity": (
        "POST",
        f"{WRONG_DELETED_ID}/restore",
        None,
        400,
        "invalid_identity_id",
    ),
    "purge_identity": ("DELETE", WRONG_DELETED_ID, None, 400, "invalid_identity_id"),
    "exchange_teams_token": ("POST", "teams/token", {}, 400, "invalid_body"),
}
# Those that have no problems to tell: their answers are the same JSON, good or bad.
REPORTS = {"health": "health", "ready": "ready", "openapi": "openapi.json"}
# Those of signed-in users, whom `tests/end_to_end_callers` looks after.
OF_USERS = {
    "get_me",
    "issue_my_token",
    "revoke_my_tokens",
    "delete_me",
    "restore_me",
    "exchange_my_teams_token",
}

every_route = pytest.mark.parametrize("name", ROUTES)


@pytest.fixture(scope="session")
def routes_are_known() -> Callable[[list[dict[str, Any]]], None]:
    """Says so when an operation has no line in the table above."""

    def check(functions: list[dict[str, Any]]) -> None:
        served = {each["name"] for each in functions if each["trigger"] == "http"}
        assert served == {*ROUTES, *REPORTS, *OF_USERS}

    return check


async def test_an_identity_is_created(api: Api, control: Control) -> None:
    """ACS has it, Location leads to it, and the answer is its id and nothing else."""
    reply = await api.post("identities")

    identity = reply.assert_success(201)
    assert identity.keys() == {"id"}
    assert await control.state(identity["id"]) == "active"
    assert reply.headers["Location"] == f"/api/identities/{identity['id']}"
    found = (await api.call("GET", reply.headers["Location"], prefix="")).assert_success()
    assert found["id"] == identity["id"]
    assert found.keys() == {"id", "createdOn"}


async def test_an_identity_is_created_with_its_first_token(api: Api, control: Control) -> None:
    """In one call of ACS; the token works, for the scopes and the time that were asked for."""
    before = await control.attempts("issue")
    body = {"scopes": ["chat", "voip"], "expiresInMinutes": 60}

    reply = await api.post("identities/with-token", body)

    made = reply.assert_success(201)
    assert made.keys() == {"id", "token", "expiresOn", "refreshAfter"}
    assert await control.fate(made["token"]) == "works"
    assert claims(made["token"])["acsScope"] == "chat,voip"
    assert reply.headers["Location"] == f"/api/identities/{made['id']}"
    assert await control.attempts("issue") == before
    assert_lives(made, timedelta(minutes=60))


async def test_a_token_is_issued_and_refreshed_by_the_same_call(api: Api, control: Control) -> None:
    """The second one is another one, and the first one goes on working."""
    identity_id = await api.new_identity()

    first, second = [
        (await api.post(f"identities/{identity_id}/tokens", CHAT)).assert_success()
        for _ in range(2)
    ]

    assert first["id"] == second["id"] == identity_id
    assert first["token"] != second["token"]
    assert [await control.fate(each["token"]) for each in (first, second)] == ["works"] * 2
    assert_lives(first, timedelta(hours=24))


async def test_tokens_are_revoked(api: Api, control: Control) -> None:
    """Those there are are dead, and new ones can be had; there is nothing to tell but 204."""
    identity_id = await api.new_identity()
    old = await api.new_token(identity_id)

    reply = await api.delete(f"identities/{identity_id}/tokens")

    assert reply.assert_success(204) is None
    assert await control.fate(old) == "revoked"
    assert await control.fate(await api.new_token(identity_id)) == "works"


async def test_an_identity_is_deleted(api: Api) -> None:
    """Its dates are seven days apart."""
    identity_id = await api.new_identity()

    reply = await api.delete(f"identities/{identity_id}")

    deletion = reply.assert_success(202)
    assert deletion.keys() == {"id", "deletedOn", "scheduledPurgeOn"}
    deleted_on, purge_on = moment(deletion["deletedOn"]), moment(deletion["scheduledPurgeOn"])
    assert abs(datetime.now(UTC) - deleted_on) < timedelta(minutes=1)
    assert purge_on - deleted_on == timedelta(days=7)


async def test_a_teams_token_is_exchanged(api: Api, azure: Azure, control: Control) -> None:
    """For one that works and lives as long."""
    reply = await api.post("teams/token", teams_body(azure))

    exchanged = reply.assert_success()
    assert exchanged.keys() == {"token", "expiresOn", "refreshAfter"}
    assert await control.fate(exchanged["token"]) == "works"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"token": "garbage"}, "token"),
        ({"token": "expired"}, "token"),
        ({"appId": "00000000-0000-0000-0000-000000000000"}, "appId"),
        ({"userId": "00000000-0000-0000-0000-000000000000"}, "userId"),
    ],
    ids=["garbage", "expired", "another app", "another user"],
)
async def test_a_teams_token_that_acs_refuses_is_a_400(
    api: Api, azure: Azure, change: dict[str, str], field: str
) -> None:
    """It names the member at fault and the call in Azure."""
    body = {**teams_body(azure), **change}
    if body["token"] == "expired":
        body["token"] = azure.env["ACS_TEAMS_EXPIRED_TOKEN"]

    reply = await api.post("teams/token", body)

    problem = reply.assert_problem(400, "teams_token_refused")
    assert problem["field"] == field
    assert problem["upstreamRequestId"]


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize("state", ["of another resource", "purged"])
async def test_an_identity_that_acs_does_not_have_is_a_404(
    api: Api, method: str, state: str
) -> None:
    """Whether it is somebody else's or was deleted in ACS."""
    identity_id = OF_ANOTHER_RESOURCE
    if state == "purged":
        identity_id = await api.deleted_identity()
        (await api.delete(f"deleted-identities/{identity_id}")).assert_success(204)
    body = CHAT if method == "POST" else None

    reply = await api.call(method, f"identities/{identity_id}/tokens", body)

    problem = reply.assert_problem(404, "identity_not_found")
    assert problem["upstreamRequestId"]


async def test_the_tables_of_these_tests_know_every_route(
    api: Api, routes_are_known: Callable[[list[dict[str, Any]]], None]
) -> None:
    """A new operation shows here that nobody looks at its answers yet."""
    headers = {"x-functions-key": api.app.master_key}

    reply = await api.call("GET", "functions", headers=headers, prefix="/admin/")

    routes_are_known(reply.json())


@every_route
async def test_every_route_refuses_in_the_one_shape(api: Api, name: str) -> None:
    """A problem with status, code, title and detail, not for a cache."""
    method, path, body, status, code = ROUTES[name]

    reply = await api.call(method, path, body)

    reply.assert_problem(status, code)


@every_route
@pytest.mark.parametrize("headers", [{}, {"x-functions-key": "wrong"}], ids=["no key", "wrong key"])
async def test_without_the_key_every_route_is_401(
    api: Api, name: str, headers: dict[str, str]
) -> None:
    """The host answers, and with nothing at all."""
    method, path, body, _, _ = ROUTES[name]

    reply = await api.call(method, path, body, headers=headers)

    reply.assert_of_the_host(401)


@every_route
@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS"])
async def test_a_wrong_method_is_404(api: Api, name: str, method: str) -> None:
    """As the Functions host has it: 405 is never used."""
    reply = await api.call(method, ROUTES[name][1].partition("?")[0])

    reply.assert_of_the_host(404)


@pytest.mark.parametrize("path", ["", "identity", "identities/a/b", "deleted-identities/a/b/c"])
async def test_an_unknown_path_is_404(api: Api, path: str) -> None:
    """The host answers, and with nothing at all."""
    reply = await api.get(path)

    reply.assert_of_the_host(404)


async def test_a_key_in_the_address_opens_and_goes_no_further(api: Api) -> None:
    """Location is made of the path alone."""
    reply = await api.call("POST", f"identities?code={api.app.function_key}", headers={})

    identity = reply.assert_success(201)
    assert reply.headers["Location"] == f"/api/identities/{identity['id']}"


@pytest.mark.parametrize("name", ["code", "Code", "CODE"])
async def test_a_list_takes_the_key_in_the_address_as_the_host_spells_it(
    api: Api, name: str
) -> None:
    """In any case."""
    reply = await api.call("GET", f"identities?{name}={api.app.function_key}", headers={})

    reply.assert_success()


async def test_health_tells_everybody_that_it_is_well(api: Api) -> None:
    """And no more, for it is anonymous."""
    reply = await api.call("GET", "health", headers={})

    assert reply.assert_success() == {"status": "ok"}


async def test_ready_tells_how_the_upstreams_answer(api: Api, control: Control) -> None:
    """It creates nothing, and a second look within ten seconds asks nobody."""
    (await api.get("ready")).assert_success()
    before = await control.identities(), await control.attempts("issue")

    replies: list[Reply] = [await api.get("ready") for _ in range(5)]

    report = replies[-1].assert_success()
    assert report["acs"]["status"] == report["registry"]["status"] == "ok"
    assert report["acs"]["latencyMs"] >= 0
    assert report["registry"]["oldestOverdueSeconds"] >= 0
    identities, attempts = await control.identities(), await control.attempts("issue")
    assert identities == before[0]
    assert attempts - before[1] <= 1


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"kind": "status", "status": 401, "code": "Denied"}, "acs_refused_us"),
        ({"kind": "status", "status": 503}, "acs_unavailable"),
        ({"kind": "hang"}, "too_slow"),
    ],
    ids=["no right", "down", "hanging"],
)
async def test_ready_tells_within_five_seconds_that_acs_does_not_answer(
    start_app: StartApp, control: Control, fault: dict[str, object], status: str
) -> None:
    """With 503; the registry is asked all the same."""
    new = start_app()
    await control.ask("POST", "faults", fault)

    reply = await new.get("ready")

    report = reply.assert_success(503)
    assert (report["acs"]["status"], report["registry"]["status"]) == (status, "ok")
    assert reply.seconds < 5


def teams_body(azure: Azure) -> dict[str, str]:
    """What the made-up Teams user's client would send."""
    return {
        "token": azure.env["ACS_TEAMS_USER_TOKEN"],
        "appId": azure.env["ACS_TEAMS_APP_ID"],
        "userId": azure.env["ACS_TEAMS_USER_ID"],
    }


def assert_lives(answer: dict[str, str], lifetime: timedelta) -> None:
    """The token lives so long from now, its dates are UTC, and it is refreshed in time."""
    expires_on, refresh_after = moment(answer["expiresOn"]), moment(answer["refreshAfter"])
    assert abs(expires_on - lifetime - datetime.now(UTC)) < timedelta(minutes=1)
    assert expires_on - refresh_after == timedelta(minutes=10)


def moment(text: str) -> datetime:
    """An RFC 3339 date in UTC."""
    assert text.endswith("Z")
    return datetime.fromisoformat(text)
