"""The app's log: what an operator needs, and nothing that anybody could use."""

import asyncio
import re
from uuid import uuid4

from tests.end_to_end.client import CHAT, Api, Control, Reply, until
from tests.end_to_end.conftest import StartApp
from tests.end_to_end.stack import Azure
from tests.end_to_end.test_faults import FAULTS
from tests.end_to_end.test_quickstart import teams_body
from tests.end_to_end.test_sweep import FINISHED, logged


async def test_no_secret_is_in_the_log(start_app: StartApp, azure: Azure, control: Control) -> None:
    """No key, no token, no user id and no hash of one, whatever goes right or wrong."""
    new = start_app(DELETED_IDENTITY_RETENTION_DAYS="0")
    await everything(new, azure)
    for name in ("503", "429 for an hour", "denied", "dropped before", "half"):
        fault = FAULTS[name]
        await control.fault(fault.kind, **fault.members)
        await everything(new, azure)
        await control.peace()
    await control.trouble(status=500)
    await everything(new, azure)
    await new.sweep()

    log = new.app.log

    assert new.app.leaks() == []
    assert len(new.app.secrets) > 20
    assert log.count("operation_finished ") > 50
    assert "internal_error" not in log


async def test_the_log_tells_of_each_call_what_an_operator_needs(
    api: Api, control: Control
) -> None:
    """The operation, its outcome, how long it took, the identity, and where to look further."""
    identity_id = await api.new_identity()
    await control.fault("status", operation="issue", status=503)

    refused = await api.post(f"identities/{identity_id}/tokens", CHAT)

    line = last_line(api, f"operation=issue_token .*identity_id={identity_id} ")
    request_id = re.escape(refused.json()["upstreamRequestId"])
    assert re.fullmatch(
        r".* \[(?P<invocation>[\w-]{36})\] operation_finished operation=issue_token status=503"
        r" code=acs_unavailable duration_ms=\d+ acs_ms=\d+ throttles=0"
        rf" identity_id={identity_id} upstream_request_id={request_id}"
        r" invocation_id=(?P=invocation)",
        line,
    )


async def test_a_success_has_a_request_id_too(api: Api) -> None:
    """Microsoft's support asks for it whatever happened."""
    identity_id = await api.new_identity()

    line = last_line(api, f"operation=create_identity .*identity_id={identity_id} ")

    assert not re.search("upstream_request_id=(-|$)", line)


async def test_the_log_tells_what_acs_throttles(api: Api, control: Control) -> None:
    """429 is counted for the operation that met it."""
    identity_id = await api.new_identity()
    await control.fault("status", operation="issue", status=429)

    await api.post(f"identities/{identity_id}/tokens", CHAT)

    assert " throttles=1 " in last_line(api, f"operation=issue_token .*{identity_id}")


async def test_what_comes_after_the_answer_is_in_the_log_too(api: Api, control: Control) -> None:
    """The host drops lines of invocations that have ended; the next one brings them along."""
    await control.fault("delay", operation="create", delaySeconds=9.5, times=1)
    (await api.post("identities")).assert_problem(504, "acs_too_slow")

    async def is_told() -> bool:
        (await api.get("health")).assert_success()
        await api.get("identities?maxPageSize=1")
        return "operation_finished_late outcome=none" in api.app.log

    await until(is_told)

    assert re.search("identity_created identity_id=8:acs:.* said_again=true", api.app.log)


async def test_the_log_tells_of_each_sweep_what_it_did(hasty: Api) -> None:
    """In one line, with its invocation."""
    sweeps = hasty.app.log.count(FINISHED)

    await hasty.sweep()

    await until(lambda: logged(hasty, FINISHED, sweeps + 1))
    assert re.fullmatch(
        r".* \[(?P<invocation>[\w-]{36})\] sweep_finished due=\d+ revoked=\d+ purged=\d+"
        r" deferred=\d+ stuck=\d+ backlog=\d+ oldest_overdue_s=\d+ throttles=\d+"
        r" duration_ms=\d+ invocation_id=(?P=invocation)",
        last_line(hasty, FINISHED),
    )


def last_line(api: Api, pattern: str) -> str:
    """The last line of the app's log in which this is."""
    return [line for line in api.app.log.splitlines() if re.search(pattern, line)][-1]


async def test_a_wrong_id_is_not_repeated_in_the_log(api: Api) -> None:
    """It may be anything, a token included."""
    (await api.get("identities/something-private")).assert_problem(400, "invalid_identity_id")

    assert "something-private" not in api.app.log


async def everything(api: Api, azure: Azure) -> list[Reply]:
    """Each operation once, for a user, with whatever comes of it."""
    user = {"userId": f"secret-{uuid4()}"}
    made = await api.post("identities", user)
    identity_id = made.json().get("id") or next(iter(await ids(api)), "none")
    path = f"identities/{identity_id}"
    return await asyncio.gather(
        api.post("identities/with-token", {**user, **CHAT}),
        api.post(f"{path}/tokens", CHAT),
        api.delete(f"{path}/tokens"),
        api.get(f"identities?code={api.app.function_key}&userId={user['userId']}"),
        api.post("teams/token", teams_body(azure)),
        api.post("teams/token", {**teams_body(azure), "token": f"wrong-{uuid4()}"}),
        api.post("identities", {"userId": f"{user['userId']}-not-known", "no": "member"}),
        api.delete(path),
        api.delete(f"deleted-{path}"),
    )


async def ids(api: Api) -> list[str]:
    """The ids on the first page of the active identities."""
    page = (await api.get("identities?maxPageSize=1")).json()
    return [each["id"] for each in page.get("value", [])]
