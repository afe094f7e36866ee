"""The log contains what an operator needs, and no secret."""

import asyncio
import re
from uuid import uuid4

from tests.end_to_end.test_faults import FAULTS
from tests.end_to_end.test_sweep import FINISHED, logged
from tests.support.client import CHAT, Client, Control, Reply, teams_body, until
from tests.support.fixtures import StartApp
from tests.support.stack import Azure

# The field of a line that the next call logs again.
REPLAYED = "replayed"


async def test_no_secret_is_in_the_log(start_app: StartApp, azure: Azure, control: Control) -> None:
    """It has no key, token, user id or hash of one, with every kind of fault."""
    new = start_app(DELETED_IDENTITY_RETENTION_DAYS="0")
    await call_everything(new, azure)
    for name in ("503", "429 for an hour", "denied", "dropped before", "half"):
        fault = FAULTS[name]
        await control.inject(fault.kind, **fault.fields)
        await call_everything(new, azure)
        await control.clear()
    await control.inject_identity_fault(status=500)
    await call_everything(new, azure)
    await new.sweep()

    log = new.app.log

    assert new.app.leaks() == []
    assert len(new.app.secrets) > 20
    assert log.count("operation_finished ") > 50
    assert "internal_error" not in log


async def test_each_call_has_one_line(api: Client, control: Control) -> None:
    """It has the operation, its result, its duration, the identity and the ids of the requests."""
    identity_id = await api.new_identity()
    await control.inject("status", operation="issue", status=503)

    refused = await api.post(f"identities/{identity_id}/tokens", CHAT)

    line = last_line(api, f"operation=issue_token .*identity_id={identity_id} ")
    request_id = re.escape(refused.json()["upstreamRequestId"])
    assert re.search(
        "operation_finished operation=issue_token status=503"
        r" code=acs_unavailable duration_ms=\d+ acs_ms=\d+ throttles=0"
        rf" identity_id={identity_id} upstream_request_id={request_id}"
        r" invocation_id=[\w-]{36}$",
        line,
    )


async def test_the_line_of_a_success_has_the_request_id(api: Client) -> None:
    """Microsoft's support asks for it."""
    identity_id = await api.new_identity()

    line = last_line(api, f"operation=create_identity .*identity_id={identity_id} ")

    assert not re.search("upstream_request_id=(-|$)", line)


async def test_throttled_calls_are_counted(api: Client, control: Control) -> None:
    """The line of the operation has the number of 429 responses of ACS."""
    identity_id = await api.new_identity()
    await control.inject("status", operation="issue", status=429)

    await api.post(f"identities/{identity_id}/tokens", CHAT)

    assert " throttles=1 " in last_line(api, f"operation=issue_token .*{identity_id}")


async def test_lines_after_the_response_are_logged_by_the_next_call(
    api: Client, control: Control
) -> None:
    """The host drops lines of invocations that have ended, so the app logs them again."""
    await control.inject("delay", operation="create", delaySeconds=9.5, times=1)
    (await api.post("identities")).assert_problem(504, "acs_too_slow")

    async def is_logged() -> bool:
        (await api.get("health")).assert_success()
        await api.get("identities?maxPageSize=1")
        return "operation_finished_late outcome=none" in api.app.log

    await until(is_logged)

    assert re.search(f"identity_created identity_id=8:acs:.* {REPLAYED}=true", api.app.log)


async def test_each_sweep_has_one_line(no_retention: Client) -> None:
    """It has the counts, the duration and the invocation."""
    sweeps = no_retention.app.log.count(FINISHED)

    await no_retention.sweep()

    await until(lambda: logged(no_retention, FINISHED, sweeps + 1))
    assert re.search(
        r"sweep_finished due=\d+ revoked=\d+ purged=\d+"
        r" deferred=\d+ stuck=\d+ backlog=\d+ oldest_overdue_s=\d+ throttles=\d+"
        r" duration_ms=\d+ invocation_id=[\w-]{36}$",
        last_line(no_retention, FINISHED),
    )


def last_line(api: Client, pattern: str) -> str:
    """Returns the last line of the log that contains the pattern."""
    return [line for line in api.app.log.splitlines() if re.search(pattern, line)][-1]


async def test_a_malformed_id_is_not_logged(api: Client) -> None:
    """It may be a secret."""
    (await api.get("identities/something-private")).assert_problem(400, "invalid_identity_id")

    assert "something-private" not in api.app.log


async def call_everything(api: Client, azure: Azure) -> list[Reply]:
    """Calls each operation once for a user, and ignores the results."""
    user = {"userId": f"secret-{uuid4()}"}
    created = await api.post("identities", user)
    identity_id = created.json().get("id") or next(iter(await ids(api)), "none")
    path = f"identities/{identity_id}"
    return await asyncio.gather(
        api.post("identities/with-token", {**user, **CHAT}),
        api.post(f"{path}/tokens", CHAT),
        api.delete(f"{path}/tokens"),
        api.get(f"identities?code={api.app.function_key}&userId={user['userId']}"),
        api.post("teams/token", teams_body(azure)),
        api.post("teams/token", {**teams_body(azure), "token": f"wrong-{uuid4()}"}),
        api.post("identities", {"userId": f"{user['userId']}-not-known", "unknown": "field"}),
        api.delete(path),
        api.delete(f"deleted-{path}"),
    )


async def ids(api: Client) -> list[str]:
    """Returns the ids on the first page of the active identities."""
    page = (await api.get("identities?maxPageSize=1")).json()
    return [each["id"] for each in page.get("value", [])]
