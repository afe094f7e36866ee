"""Why a user was refused: from the user to the line that the running app has logged."""

import re

from identity_service.services import SystemClock
from tests.infra.test_alerts import DOCUMENTED
from tests.infra.workspace import Workspace
from tests.runbooks.operator import Operator
from tests.runbooks.page import section
from tests.support.client import Me

FIND = section("why-was-this-user-refused").command("acsid find")
QUERY = DOCUMENTED["Why was this user refused-0"]


async def test_the_reason_is_found(operator: Operator, me: Me) -> None:
    """The id that step 1 prints leads to the refused call and to its code."""
    identity_id = (await me.issue()).assert_success()["id"]
    (await operator.api.post(f"identities/{identity_id}/suspend")).assert_success()
    (await me.issue()).assert_problem(409, "identity_suspended")
    workspace = Workspace(SystemClock())

    output = (await operator.run(FIND, USER=me.user_id)).output
    for line in re.findall(r"operation_finished .*", me.app.log):
        workspace.add(line)
    [found] = re.findall(r"8:acs:\S+", output)
    rows = workspace.query(QUERY.replace("8:acs:…", found))

    refused = [row for row in rows if row["identity_id"] == identity_id]
    assert [(row["operation"], row["code"], row["caller"]) for row in refused] == [
        ("issue_my_token", "identity_suspended", "user")
    ]


async def test_a_user_who_is_not_signed_in_is_found_by_the_code(operator: Operator, me: Me) -> None:
    """The call has no identity, so only the time and the code remain."""
    (await me.call("POST", "me/tokens", headers={})).assert_problem(401, "not_signed_in")
    workspace = Workspace(SystemClock())
    for line in re.findall(r"operation_finished .*", operator.api.app.log):
        workspace.add(line)

    rows = workspace.query(QUERY)

    assert ("-", "not_signed_in") in [(row["identity_id"], row["code"]) for row in rows]
