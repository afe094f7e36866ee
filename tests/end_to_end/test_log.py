"""The log contains what an operator needs, and no secret."""

import asyncio
import re
from uuid import uuid4

from tests.end_to_end.test_faults import FAULTS
from tests.support.client import CHAT, Client, Control, teams_body
from tests.support.fixtures import StartApp
from tests.support.stack import Azure


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


async def call_everything(api: Client, azure: Azure) -> None:
    """Calls each operation once for a user, and ignores the results."""
    user = {"userId": f"secret-{uuid4()}"}
    created = await api.post("identities", user)
    page = (await api.get("identities?maxPageSize=1")).json()
    known = [each["id"] for each in page.get("value", [])]
    path = f"identities/{created.json().get('id') or next(iter(known), 'none')}"
    await asyncio.gather(
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


async def test_each_call_has_one_line(api: Client, control: Control) -> None:
    """It has the operation, its result, its duration, the identity and the ids of the requests."""
    identity_id = await api.new_identity()
    await control.inject("status", operation="issue", status=503)

    refused = await api.post(f"identities/{identity_id}/tokens", CHAT)

    [line] = re.findall(f".*operation=issue_token .*identity_id={identity_id} .*", api.app.log)
    request_id = re.escape(refused.json()["upstreamRequestId"])
    assert re.search(
        r"operation_finished operation=issue_token status=503"
        r" code=acs_unavailable field=- duration_ms=\d+ acs_ms=\d+ table_ms=\d+ credential_ms=\d+"
        rf" throttles=0 identity_id={identity_id} upstream_request_id={request_id}"
        r" caller=key invocation_id=[\w-]{36}$",
        line,
    )
