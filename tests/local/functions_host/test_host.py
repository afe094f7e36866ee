"""Facts about timers, warm-up and the admin endpoints, over HTTP."""

from pathlib import Path

import pytest

from tests.local.running_host import (
    WITH_FUNCTION_KEY,
    WITH_MASTER_KEY,
    RunningHost,
    running_host,
    write_app,
)

SETTINGS = {
    "EVERY_SECOND": "* * * * * *",
    "AzureWebJobs.disabled_timer.Disabled": "true",
    "AzureWebJobs.never_started.Disabled": "true",
}
APP = '''
import asyncio, json, logging
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
RUNS, CHANGED = {}, asyncio.Condition()

async def count_run(name):
    async with CHANGED:
        RUNS[name] = RUNS.get(name, 0) + 1
        CHANGED.notify_all()

@app.warm_up_trigger(arg_name="warmup")
async def warm(warmup) -> None:
    await count_run("warm")

@app.warm_up_trigger(arg_name="warmup")
async def warm_badly(warmup) -> None:
    raise RuntimeError("cold")

@app.timer_trigger(arg_name="timer", schedule="%EVERY_SECOND%")
async def fast(timer: func.TimerRequest) -> None:
    assert isinstance(timer, func.TimerRequest) and timer.past_due is False
    await count_run("fast")

@app.timer_trigger(arg_name="timer", schedule="%EVERY_SECOND%")
async def never_ends(timer: func.TimerRequest) -> None:
    await count_run("never_ends")
    await asyncio.Event().wait()

@app.timer_trigger(arg_name="timer", schedule="* * * * * *")
async def disabled_timer(timer: func.TimerRequest) -> None:
    await count_run("disabled_timer")

@app.timer_trigger(arg_name="timer", schedule="* * * * * *")
async def never_started(timer: func.TimerRequest) -> None:
    await count_run("never_started")

@app.timer_trigger(arg_name="timer", schedule="%MISSING%")
async def unresolved(timer: func.TimerRequest) -> None:
    await count_run("unresolved")

@app.timer_trigger(arg_name="timer", schedule="0 0 0 29 2 *")
async def by_hand(timer: func.TimerRequest, context: func.Context) -> None:
    await count_run(context.function_name)

@app.route(route="runs/{name}/{count:int}", methods=["GET"])
async def runs(req: func.HttpRequest) -> func.HttpResponse:
    """Responds when that function has run at least that often."""
    name, count = req.route_params["name"], int(req.route_params["count"])
    async with CHANGED:
        await CHANGED.wait_for(lambda: RUNS.get(name, 0) >= count)
        return func.HttpResponse(json.dumps(RUNS), mimetype="application/json")
'''
# App Service's front end adds this header.
FROM_OUTSIDE = {"X-ARR-LOG-ID": "1"}
AS_JSON = WITH_MASTER_KEY | {"Content-Type": "application/json"}
INPUT = b'{"input":""}'


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_platform_can_warm_the_app_up(tmp_path: Path, method: str) -> None:
    """Without the request no warm-up function runs. The first request runs each of them once."""
    with running_host(write_app(tmp_path, APP), SETTINGS) as host:
        started = host.call("POST", "/admin/functions/warm", AS_JSON, INPUT)
        cold = host.call("GET", "/api/runs/warm/0")

        replies = [host.call(method, "/admin/warmup") for _ in range(2)]

        warm = host.call("GET", "/api/runs/warm/1")
        log = host.log()
    assert started.status == 202
    assert "warm" not in cold.json()
    assert [(reply.status, reply.body) for reply in replies] == [(200, b"")] * 2
    assert warm.json()["warm"] == 1
    assert log.count("'Functions.warm_badly' (Failed)\n    Traceback") == 1


def test_timers_run_on_schedule_and_never_overlap(host: RunningHost) -> None:
    """A timer that is still running skips its next runs. A disabled timer does not run."""
    host.call("GET", "/api/runs/never_ends/1")
    before = host.call("GET", "/api/runs/fast/1").json()["fast"]

    runs = host.call("GET", f"/api/runs/fast/{before + 2}").json()

    assert runs["never_ends"] == 1
    assert "never_started" not in runs


def test_a_function_in_error_is_logged_and_listed(host: RunningHost) -> None:
    """The others are not affected."""
    path = "/admin/functions/unresolved/status"
    status = host.call("GET", path, WITH_MASTER_KEY).json()

    reason = "'%MISSING%' does not resolve to a value."
    assert reason in str(status["errors"])
    assert f"The 'unresolved' function is in error: {reason}" in host.log()


def test_a_timer_can_be_started_by_name(host: RunningHost) -> None:
    """The response is 202 at once. Case and schedule do not matter, and it may be disabled."""
    for name in ("by_hand", "By_Hand", "disabled_timer"):
        response = host.call("POST", f"/admin/functions/{name}", AS_JSON, INPUT)
        assert (response.status, response.body) == (202, b"")

    assert host.call("GET", "/api/runs/by_hand/2").status == 200
    assert host.call("GET", "/api/runs/disabled_timer/1").status == 200


@pytest.mark.parametrize(
    ("name", "logged"),
    [
        ("runs", "'Functions.runs' (Failed)\n    NotSupportedException"),
        ("warm", "'Functions.warm' (Failed)\n    NotSupportedException"),
        ("unresolved", "The 'unresolved' function is in error and does not run"),
    ],
)
def test_other_functions_do_not_run_when_started_by_name(
    host: RunningHost, name: str, logged: str
) -> None:
    """The response is 202 all the same, and the log has the error."""
    assert host.call("POST", f"/admin/functions/{name}", AS_JSON, INPUT).status == 202
    assert logged in host.log()


@pytest.mark.parametrize(
    ("name", "headers", "body", "status"),
    [
        ("by_hand", {"Content-Type": "application/json"}, INPUT, 401),
        ("by_hand", WITH_FUNCTION_KEY | {"Content-Type": "application/json"}, INPUT, 403),
        ("by_hand", WITH_MASTER_KEY, INPUT, 415),
        ("by_hand", WITH_MASTER_KEY | {"Content-Type": "text/plain"}, INPUT, 415),
        ("by_hand", AS_JSON, b"", 400),
        ("by_hand", AS_JSON, b"[]", 400),
        ("by_hand", AS_JSON, b"\xff", 400),
        ("by_hand", AS_JSON, b"[" * 50_000, 400),
        ("unknown", AS_JSON, INPUT, 404),
        ("by_hand", AS_JSON, b'{"input": {}}', 400),
        ("by_hand", AS_JSON | {"Content-Type": "text/json; charset=latin-1"}, INPUT, 415),
    ],
)
def test_a_start_by_name_is_checked(
    host: RunningHost, name: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    """It needs the master key, a JSON object whose input is no object, and a function."""
    response = host.call("POST", f"/admin/functions/{name}", headers, body)

    assert (response.status, response.body) == (status, b"")


@pytest.mark.parametrize(
    ("path", "statuses"),
    [
        ("/admin/host/status", [401, 403, 200]),
        ("/admin/functions", [401, 403, 200]),
        ("/Admin/Functions", [401, 403, 200]),
        ("/admin/functions/runs/keys", [401, 403, 200]),
        ("/admin/host/keys/default", [401, 403, 200]),
        ("/admin/host/systemkeys", [401, 403, 200]),
        ("/admin/host/config", [401, 403, 200]),
        ("/admin/unknown", [404, 404, 404]),
        ("/admin/vfs/host.json", [401, 401, 403]),
        ("/admin/vfsx", [404, 404, 404]),
        ("/admin/functions/download", [401, 403, 501]),
        ("/admin/host/ping", [200, 200, 200]),
        ("/admin/instance/http-health", [200, 200, 200]),
    ],
)
def test_admin_endpoints_need_the_master_key(
    host: RunningHost, path: str, statuses: list[int]
) -> None:
    """Without a key the response is 401, with the host key 403. Only health checks need no key."""
    received = [
        host.call("GET", path, FROM_OUTSIDE | key).status
        for key in ({}, WITH_FUNCTION_KEY, WITH_MASTER_KEY)
    ]

    assert received == statuses


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("DELETE", "/admin/functions/by_hand", 501),
        ("PUT", "/admin/functions/runs/keys/x", 501),
        ("POST", "/admin/host/restart", 501),
        ("POST", "/admin/host/extensions", 501),
        ("POST", "/admin/instance/assign", 501),
        ("PATCH", "/admin/functions/by_hand", 404),
        ("HEAD", "/admin/functions", 404),
    ],
)
def test_endpoints_that_change_something_are_not_supported(
    host: RunningHost, method: str, path: str, status: int
) -> None:
    """With the master key they are 501. Other methods are 404, as in the real host."""
    assert host.call(method, path, WITH_MASTER_KEY).status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), (WITH_FUNCTION_KEY, 403), (WITH_MASTER_KEY, 415), (AS_JSON, 400)],
)
def test_the_host_does_not_say_how_to_scale(
    host: RunningHost, headers: dict[str, str], status: int
) -> None:
    """Only plans that scale by the host's own measurements enable it."""
    response = host.call("POST", "/admin/host/scale/status", FROM_OUTSIDE | headers, b"{}")

    assert response.status == status


def test_an_admin_endpoint_asks_for_a_bearer_token(host: RunningHost) -> None:
    """The response to an invalid token says so."""
    path, token = "/admin/functions", {"Authorization": "Bearer x"}

    assert host.call("GET", path).headers["WWW-Authenticate"] == "Bearer"
    rejected = host.call("GET", path, token).headers["WWW-Authenticate"]
    assert rejected == 'Bearer error="invalid_token"'


def test_the_list_describes_every_function(host: RunningHost) -> None:
    """It has bindings and a URL in lower case. It has functions in error, and disabled ones."""
    listed = host.call("GET", "/admin/functions", WITH_MASTER_KEY).json()

    by_name = {function["name"]: function for function in listed}
    base = f"http://127.0.0.1:{host.port}"
    runs = by_name["runs"]
    assert runs["invoke_url_template"] == f"{base}/api/runs/{{name}}/{{count:int}}"
    assert runs["href"] == f"{base}/admin/functions/runs"
    trigger, response = runs["config"]["bindings"]
    assert (trigger["type"], trigger["methods"], trigger["authLevel"]) == (
        *("httpTrigger", ["GET"]),
        "ANONYMOUS",
    )
    assert response["type"] == "http"
    assert by_name["disabled_timer"]["isDisabled"] is True
    assert by_name["warm"]["invoke_url_template"] is None
    [timer] = by_name["unresolved"]["config"]["bindings"]
    assert timer["schedule"] == "%MISSING%"
