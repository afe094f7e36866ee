"""What a cold worker imports, and that it logs the cause of a failure once, without a secret."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.settings import MINIMAL

ROOT = Path(__file__).parent.parent
TELEMETRY = "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY"

_PROGRAM = """
import asyncio, json, sys
import function_app
def imported():
    return [name for name in sys.modules if name.startswith(("opentelemetry", "aiohttp", "azure."))]
at_start = imported()
async def first_request():
    assert function_app.services.lifecycle
asyncio.run(first_request())
print(json.dumps([at_start, imported()]))
"""
SDKS = {"aiohttp", "azure.communication.identity", "azure.data.tables", "azure.identity"}


def imported(**settings: str) -> tuple[set[str], set[str]]:
    """Return what is imported at the start, and after all clients are created."""
    at_start, later = json.loads(output_of(_PROGRAM, {**MINIMAL, **settings}))
    return set(at_start), set(later)


def output_of(program: str, environ: dict[str, str]) -> str:
    """Run a program in a process of its own."""
    run = subprocess.run(  # noqa: S603 -- our own program
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout


@pytest.mark.parametrize("setting", ["", "false"])
def test_opentelemetry_off(setting: str) -> None:
    """Without telemetry no part of OpenTelemetry is imported."""
    _, later = imported(**{TELEMETRY: setting})

    assert "opentelemetry" not in later


def test_opentelemetry_on() -> None:
    """With telemetry the API of OpenTelemetry is imported at the start."""
    at_start, _ = imported(**{TELEMETRY: "true"})

    assert "opentelemetry" in at_start


def test_sdks_are_imported_with_the_first_client() -> None:
    """The functions are indexed without them. The first call has all of them."""
    at_start, later = imported()

    assert SDKS & at_start == set()
    assert later >= SDKS


# A worker whose package has no OpenTelemetry: two health probes.
_WITHOUT_PACKAGES = """
import asyncio, logging, sys
from types import SimpleNamespace
from azure.functions import HttpRequest
sys.modules["opentelemetry"] = None
logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(levelname)s %(message)s")
import function_app
[health] = [each.get_user_function() for each in function_app.app.get_functions()
            if each.get_function_name() == "health"]
async def main():
    for _ in range(2):
        probe = HttpRequest("GET", "http://x/", body=b"")
        print((await health(probe, SimpleNamespace(invocation_id="1"))).status_code)
asyncio.run(main())
"""


def test_missing_packages_are_logged_once() -> None:
    """With telemetry but without its packages, the app serves and logs how to install them."""
    lines = output_of(_WITHOUT_PACKAGES, {**MINIMAL, TELEMETRY: "true"}).splitlines()

    assert [line for line in lines if line.startswith("2")] == ["200", "200"]
    [logged] = set(lines) - {"200"}
    assert logged.startswith("ERROR telemetry_not_installed missing=opentelemetry")
    assert "'-r requirements-telemetry.txt' to requirements.txt" in logged
    assert len(lines) == 3


PASSWORD = "pass-w0rd"
# A cold worker behind a proxy: one call of a service, ready, and the sweep. All log lines go to
# stderr, and what the host would report of a failed invocation.
_FAILING = """
import asyncio, gc, logging, traceback
from types import SimpleNamespace
from azure.functions import HttpRequest
logging.basicConfig(level=logging.INFO)
import function_app
functions = {each.get_function_name(): each.get_user_function()
             for each in function_app.app.get_functions()}
IDENTITY = "8:acs:11111111-2222-3333-4444-555555555555_0000002a-0000-1111-2222-333333333333"
async def main():
    issue = HttpRequest("POST", "http://x/", route_params={"id": IDENTITY},
                        body=b'{"scopes": ["chat"]}', headers={"content-length": "19"})
    ready = HttpRequest("GET", "http://x/", body=b"")
    for name, argument in [("issue_token", issue), ("ready", ready),
                           ("purge_deleted_identities", None)]:
        try:
            await functions[name](argument, SimpleNamespace(invocation_id=name))
        except Exception:
            traceback.print_exc()
asyncio.run(main())
gc.collect()
"""
KEYS = {
    "COMMUNICATION_SERVICES_ACCESSKEY": "c2VjcmV0LWFjY2Vzcy1rZXk=",
    "AzureWebJobsStorage": "AccountName=contoso;AccountKey=c2VjcmV0LXN0b3JhZ2Uta2V5;"
    "TableEndpoint=https://contoso.table.core.windows.net",
}
CLIENT_SECRET = {
    "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
    "AZURE_TENANT_ID": "11111111-2222-3333-4444-555555555555",
    "AZURE_CLIENT_ID": "11111111-2222-3333-4444-555555555555",
    "AZURE_CLIENT_SECRET": "secret-of-the-app",
}
SECRETS = (PASSWORD, "c2VjcmV0", "secret-of")


async def behind_a_proxy(settings: dict[str, str]) -> list[str]:
    """What a cold worker writes whose proxy does not accept its password."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _FAILING),
            cwd=ROOT,
            env={**settings, "HTTPS_PROXY": f"http://user:{PASSWORD}@127.0.0.1:{port}"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await worker.communicate()
    return output.decode().splitlines()


def events(lines: list[str], invocation: str) -> list[str]:
    """The names of the invocation's events."""
    return [
        line.split(":", 2)[2].partition(" ")[0]
        for line in lines
        if f"invocation_id={invocation}" in line
    ]


async def test_cause_of_a_failure_is_logged_once() -> None:
    """Each invocation has one line for each upstream, with the proxy's status, and no secret."""
    without_account = {name: text for name, text in MINIMAL.items() if "__" not in name}
    lines = await behind_a_proxy(without_account | KEYS)

    assert [line for line in lines if any(secret in line for secret in SECRETS)] == []
    assert events(lines, "issue_token") == ["registry_unavailable", "operation_finished"]
    assert sorted(events(lines, "ready")) == [
        "acs_unavailable",
        "operation_finished",
        "registry_unavailable",
    ]
    assert events(lines, "purge_deleted_identities") == [
        "registry_unavailable",
        "sweep_failed",
    ]
    assert sum(" kind=proxy reason=" in line for line in lines) == 4
    assert any("RegistryUnavailable" in line for line in lines)


async def test_failing_credential_logs_no_secret() -> None:
    """The same holds for the credential and for what azure-identity logs about it."""
    lines = await behind_a_proxy(MINIMAL | CLIENT_SECRET)

    assert [line for line in lines if any(secret in line for secret in SECRETS)] == []
    assert events(lines, "issue_token") == ["credential_unavailable", "operation_finished"]
    assert events(lines, "purge_deleted_identities")[-1] == "sweep_failed"
