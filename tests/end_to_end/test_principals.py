"""Who counts as a signed-in user, and how often a user may call, over HTTP.

The front end trusts a tenant of this test, which can issue any token.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from uuid import uuid4

import aiohttp
import pytest

from local.entra import APP_AUDIENCE, Issuer, SignIn, object_id
from tests.end_to_end.test_who_may_call import FOR_USERS
from tests.support.client import CHAT, Client, Control, Me
from tests.support.stack import App, Azure, running_app

SCOPE = "Identity.Use"
CALLS = 12
TENANT = Issuer()


def token(user: str, **claims: object) -> str:
    """The access token of a user for the app. A claim that is None is left out."""
    known = {"oid": object_id(user), "sub": user, "scp": SCOPE, "ver": "2.0", **claims}
    present = {name: value for name, value in known.items() if value is not None}
    return TENANT.sign(APP_AUDIENCE, 3600, **present)  # type: ignore[arg-type]  # lists are claims, too


def groups(count: int) -> list[str]:
    """The ids of this many groups."""
    return [str(uuid4()) for _ in range(count)]


@pytest.fixture(scope="module")
def app(azure: Azure, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The app behind a front end that trusts the tenant."""
    trusting = replace(azure, sign_in=SignIn(TENANT).easy_auth())
    settings = {"SIGN_IN_SCOPE": SCOPE, "USER_CALLS_PER_MINUTE": str(CALLS)}
    with running_app(trusting, tmp_path_factory.mktemp("app"), settings) as started:
        yield started


def me(session: aiohttp.ClientSession, app: App, user: str, **claims: object) -> Me:
    """A caller with these claims."""
    return Me(session, app, token(user, **claims))


# Claims, and the refusal: status, code, and what the detail says.
REFUSED: dict[str, tuple[Mapping[str, object], int, str, str]] = {
    "application": ({"idtyp": "app"}, 403, "not_allowed", "An application is signed in"),
    "application without a scope": (
        {"scp": None, "idtyp": "app", "roles": [SCOPE]},
        403,
        "not_allowed",
        "An application is signed in",
    ),
    "roles of an application": ({"scp": None, "roles": [SCOPE]}, 403, "not_allowed", "scp"),
    "ID token": ({"scp": None, "nonce": "n"}, 403, "not_allowed", "not an ID token"),
    "another scope": ({"scp": "Identity.Read"}, 403, "not_allowed", "lacks the scope"),
    "part of the scope": ({"scp": "Identity"}, 403, "not_allowed", "lacks the scope"),
    "longer scope": ({"scp": f"{SCOPE}.All"}, 403, "not_allowed", "lacks the scope"),
    "no tenant": ({"tid": ""}, 401, "not_signed_in", "no tenant id (tid)"),
    "no object id": ({"oid": None}, 401, "not_signed_in", "does not identify one caller"),
    "450 groups": ({"groups": groups(450)}, 401, "not_signed_in", "too many groups"),
}
ACCEPTED: dict[str, Mapping[str, object]] = {
    "the scope": {},
    "several scopes": {"scp": f"User.Read {SCOPE} Mail.Read"},
    "type of a user": {"idtyp": "user"},
    "200 groups": {"groups": groups(200)},
}


@pytest.mark.parametrize("operation", FOR_USERS)
@pytest.mark.parametrize(("claims", "status", "code", "reason"), REFUSED.values(), ids=REFUSED)
async def test_who_is_no_user(  # noqa: PLR0913, PLR0917 -- a matrix
    session: aiohttp.ClientSession,
    app: App,
    control: Control,
    user: str,
    operation: str,
    claims: Mapping[str, object],
    status: int,
    code: str,
    reason: str,
) -> None:
    """Every operation for users refuses everything but a person's access token for this app."""
    before = await control.all_attempts()
    method, path = FOR_USERS[operation]
    body = {"token": "t"} if "teams" in path else None
    reply = await me(session, app, user, **claims).call(method, path, body)

    problem = reply.assert_problem(status, code)
    assert reason in problem["detail"]
    assert problem.get("allowed") == (SCOPE if "lacks" in reason else None)
    assert await control.all_attempts() == before


@pytest.mark.parametrize("claims", ACCEPTED.values(), ids=ACCEPTED)
async def test_who_is_a_user(
    session: aiohttp.ClientSession, app: App, user: str, claims: Mapping[str, object]
) -> None:
    """A person with the scope of the settings gets a token, in up to 200 groups."""
    (await me(session, app, user, **claims).issue()).assert_success()


async def test_a_user_has_a_budget(
    session: aiohttp.ClientSession, app: App, control: Control, user: str
) -> None:
    """On eight connections one user gets the calls of a minute; the others are refused before ACS.

    Other users and services are not affected.
    """
    greedy, other = me(session, app, user), me(session, app, f"other-{user}")
    service = Client(session, app)
    identity_id = (await greedy.issue()).assert_success()["id"]
    attempts = await control.attempts("issue")

    async def send_ten() -> list[int]:
        return [(await greedy.issue()).status for _ in range(10)]

    replies = await asyncio.gather(*(send_ten() for _ in range(8)))
    statuses = Counter(status for each in replies for status in each)

    # A call may come back while the test runs.
    assert statuses.keys() == {200, 429}
    assert CALLS - 1 <= statuses[200] <= CALLS + 2
    assert await control.attempts("issue") - attempts == statuses[200]
    for method, path in FOR_USERS.values():
        refused = await greedy.call(method, path, {"token": "t"} if "teams" in path else None)
        problem = refused.assert_problem(429, "too_many_calls")
        assert str(CALLS) in problem["detail"]
        assert 1 <= int(refused.headers["Retry-After"]) <= 60 // CALLS
    (await other.issue()).assert_success()
    for _ in range(CALLS + 1):
        (await service.post(f"identities/{identity_id}/tokens", CHAT)).assert_success()


async def test_a_refused_user_succeeds_after_the_wait(
    session: aiohttp.ClientSession, app: App, user: str
) -> None:
    """Retry-After is the time until the next call is possible."""
    caller = me(session, app, user)
    while (reply := await caller.read()).status != 429:
        reply.assert_problem(404, "identity_not_found")

    await asyncio.sleep(int(reply.headers["Retry-After"]))

    (await caller.read()).assert_problem(404, "identity_not_found")
