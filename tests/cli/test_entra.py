"""acsid with Entra tokens instead of keys: where they come from, and when they are renewed."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from acsid.entra import Tokens
from acsid.failures import Exit, Failure
from acsid.profile import Target, find_target

from tests.cli.conftest import Run
from tests.cli.service import KEY, Service, identity, problem
from tests.cli.test_profile import profiles

URL = "https://app.azurewebsites.net"
SCOPE = "api://11111111-2222-3333-4444-555555555555"
HOUR = 3600


class Az:
    """An Azure CLI that answers what a test wants.

    Attributes:
        path: The value of PATH with which it is found.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.path = f"{folder}:{os.environ['PATH']}"
        self._calls, self._answers = folder / "calls", folder / "answers"
        self._answers.mkdir()
        program = folder / "az"
        program.write_text(
            "#!/bin/sh\n"
            f'echo "$@" >> "{self._calls}"\n'
            f'answer="{self._answers}/$(wc -l < "{self._calls}" | tr -d " ")"\n'
            f'[ -e "$answer" ] || answer="{self._answers}/last"\n'
            '[ -s "$answer" ] && exec cat "$answer"\n'
            'echo "WARNING: x" >&2; echo "ERROR: Please run az login." >&2; exit 1\n'
        )
        program.chmod(0o700)

    def gives(self, *tokens: str, lifetime: float = HOUR) -> None:
        """Lets it give these tokens one after the other, then the last one. `""` is a failure."""
        expires = int(time.time() + lifetime)
        for number, token in enumerate(tokens, 1):
            answer = json.dumps({"accessToken": token, "expires_on": expires}) if token else ""
            for name in (str(number), "last"):
                (self._answers / name).write_text(answer)

    @property
    def calls(self) -> list[str]:
        """What it was asked."""
        return self._calls.read_text().splitlines() if self._calls.exists() else []


@pytest.fixture
def az(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Az:
    """The Azure CLI, in the path."""
    found = Az(tmp_path / "az")
    monkeypatch.setenv("PATH", found.path)
    return found


@pytest.fixture
def entra(service: Service, variables: dict[str, str]) -> Service:
    """An app that accepts tokens only, and an operator who has its scope instead of a key."""
    service.bearer = "first-token"
    variables.pop("ACSID_KEY")
    variables["ACSID_SCOPE"] = SCOPE
    return service


def test_a_token_of_the_azure_cli_is_sent(acsid: Run, entra: Service, az: Az) -> None:
    """A token for the app is asked for, and sent instead of a key."""
    az.gives("first-token")
    ended = acsid("list")

    assert ended.code == 0, ended.errors
    assert az.calls == [f"account get-access-token --scope {SCOPE}/.default --output json"]
    assert "x-functions-key" not in entra.received[0].headers


def test_a_token_of_the_environment_is_sent(
    acsid: Run, entra: Service, az: Az, variables: dict[str, str]
) -> None:
    """ACSID_TOKEN needs no Azure CLI."""
    variables["ACSID_TOKEN"] = "first-token"
    ended = acsid("list")

    assert ended.code == 0, ended.errors
    assert az.calls == []


def test_a_token_that_was_refused_is_replaced_once(acsid: Run, entra: Service, az: Az) -> None:
    """After a 401, the request is sent again with a new token."""
    az.gives("expired-token", "first-token")
    ended = acsid("list")

    assert ended.code == 0, ended.errors
    assert len(az.calls) == len(entra.received) == 2


def test_a_token_is_not_replaced_for_ever(acsid: Run, entra: Service, az: Az) -> None:
    """If the app refuses the new token too, the command ends: exit code 5."""
    az.gives("expired-token", "wrong-token")
    ended = acsid("list")

    assert ended.code == 5
    assert "does not accept the token (401)" in ended.errors
    assert len(entra.received) == 2


def test_the_same_token_is_not_sent_again(acsid: Run, entra: Service, az: Az) -> None:
    """If the Azure CLI has no other token, sending it again would not help."""
    az.gives("wrong-token")
    ended = acsid("list")

    assert (ended.code, len(entra.received)) == (5, 1)


def test_a_file_is_continued_with_a_new_token(
    acsid: Run, entra: Service, az: Az, tmp_path: Path
) -> None:
    """A token that the app no longer accepts in the middle of a file does not end the work."""
    # The first is that of the preview.
    az.gives("first-token", "expired-token", "first-token")
    for number in range(20):
        entra.add(number)
    rows = "".join(f"{identity(n)}\n" for n in range(20))
    (tmp_path / "ids.csv").write_text(f"id\n{rows}")
    ended = acsid("suspend", "--file", "ids.csv", "--yes", "--json", "--rate", "1000")

    assert ended.code == 0, ended.errors
    assert ended.json()["results"] == {"suspended": 20}
    assert len(az.calls) == 3


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = 0.0

    def __call__(self) -> float:
        """Returns the time in seconds since 1970."""
        return self.now


def test_a_token_is_renewed_before_it_expires(az: Az) -> None:
    """With less than four minutes left, the next request gets a new one."""
    clock = Clock(time.time())
    az.gives("old", "new")
    tokens = Tokens(SCOPE, now=clock)
    at_first = tokens.current()
    clock.now += HOUR - 250
    later = tokens.current()
    clock.now += 20

    assert (at_first, later, tokens.current()) == ("old", "old", "new")


def test_the_azure_cli_is_not_asked_for_each_request(az: Az) -> None:
    """If even its new token is about to expire, it is asked again after a minute."""
    clock = Clock(time.time())
    az.gives("old", lifetime=100)
    tokens = Tokens(SCOPE, now=clock)
    for _ in range(5):
        tokens.current()
    clock.now += 61
    tokens.current()

    assert len(az.calls) == 2


def test_a_valid_token_is_used_while_there_is_no_new_one(az: Az) -> None:
    """A failure of the Azure CLI ends the work only when the old token has expired."""
    clock = Clock(time.time())
    az.gives("old", "")
    tokens = Tokens(SCOPE, now=clock)
    tokens.current()
    clock.now += HOUR - 100
    still = tokens.current()
    clock.now += 100

    assert still == "old"
    with pytest.raises(Failure, match="Please run az login"):
        tokens.current()


def test_a_missing_role_is_named(acsid: Run, entra: Service, az: Az, tmp_path: Path) -> None:
    """It ends the work on a file at once, because no other record would succeed: exit code 5."""
    az.gives("first-token")
    missing = problem(403, "not_allowed", detail="No.", allowed="Identities.Manage")
    entra.add(1)
    (tmp_path / "ids.csv").write_text(f"id\n{identity(1)}\n")
    entra.answers.extend([None, missing, missing])
    ended = acsid("suspend", "--file", "ids.csv", "--yes", "--json")

    assert ended.code == 5
    assert ended.json()["left"] == 1
    assert ended.errors.count("Identities.Manage") == 2  # in the message, and as a field


def test_scopes_that_are_not_allowed_are_no_missing_role(acsid: Run, service: Service) -> None:
    """There, it is the request that is refused, not the caller: exit code 1."""
    refused = problem(403, "not_allowed", field="scopes", allowed="voip")
    service.answers.append(refused)
    ended = acsid("token", identity(1), "--scope", "chat")

    assert ended.code == 1


def test_nobody_is_signed_in(acsid: Run, entra: Service, az: Az) -> None:
    """The error of the Azure CLI is shown, and how to sign in: exit code 5."""
    ended = acsid("list")

    assert ended.code == 5
    assert "ERROR: Please run az login." in ended.errors
    assert "az login --service-principal" in ended.errors
    assert entra.received == []


def test_no_azure_cli(acsid: Run, entra: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the Azure CLI, there is no token and nothing is sent: exit code 5."""
    monkeypatch.setenv("PATH", "")
    ended = acsid("list")

    assert ended.code == 5
    assert "ACSID_TOKEN" in ended.errors
    assert entra.received == []


def test_no_token_is_ever_shown(acsid: Run, entra: Service, az: Az, tmp_path: Path) -> None:
    """Not in an error, not in a file, not in what a target looks like."""
    az.gives("secret-token")
    outputs = [acsid("list"), acsid("list", "--json"), acsid("--entra", "find", "alice")]
    written = [each for each in tmp_path.rglob("*") if "az" not in each.parts]

    assert all("secret-token" not in each.output + each.errors for each in outputs)
    assert written == []
    assert "secret-token" not in repr(Target(URL, None, token="secret-token"))


def test_the_sweep_needs_no_token(
    acsid: Run, entra: Service, az: Az, variables: dict[str, str]
) -> None:
    """It is started with the master key, which is no token."""
    variables["ACSID_MASTER_KEY"] = "the-master-key"
    acsid("sweep", "--yes")

    assert entra.received[0].headers["x-functions-key"] == "the-master-key"
    assert "authorization" not in entra.received[0].headers
    assert az.calls == []


def test_a_profile_has_a_scope(tmp_path: Path) -> None:
    """A profile with a scope needs no option."""
    environ = profiles(tmp_path, f'[default]\nurl = "{URL}"\nscope = "{SCOPE}/.default"\n')
    expected = Target(URL, None, "url of profile default", SCOPE)

    assert find_target(environ) == find_target(environ, entra=True) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f'url = "{URL}"\nkey = "x"\nscope = "{SCOPE}"', "both key and scope"),
        (f'url = "{URL}"\nscope = "--debug"', "not the scope"),
        (f'url = "{URL}"\nscope = "{SCOPE} --debug"', "not the scope"),
        (f'url = "{URL}"\nkey = "x"', "has no scope"),
    ],
)
def test_a_profile_that_cannot_be_used(tmp_path: Path, text: str, reason: str) -> None:
    """What is wrong with it is said."""
    with pytest.raises(Failure, match=reason) as failure:
        find_target(profiles(tmp_path, f"[default]\n{text}\n"), entra=True)
    assert failure.value.exit_code is Exit.USAGE


@pytest.mark.parametrize("name", ["ACSID_TOKEN", "ACSID_SCOPE"])
def test_a_key_and_a_token(name: str) -> None:
    """It is not guessed which one the app accepts: the operator says it with --entra."""
    environ = {"ACSID_URL": URL, "ACSID_KEY": KEY, name: SCOPE}
    with pytest.raises(Failure, match="There is a key, and"):
        find_target(environ)
    target = find_target(environ, entra=True)

    assert (target.key, target.token or target.scope) == (None, SCOPE)


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"ACSID_URL": URL, "ACSID_KEY": KEY}, "needs the scope"),
        ({"ACSID_SCOPE": SCOPE}, "ACSID_URL is not"),
        ({"ACSID_URL": URL, "ACSID_SCOPE": "11111111"}, "not the scope"),
        ({"ACSID_URL": "http://example.com", "ACSID_TOKEN": "x"}, "unencrypted"),
    ],
)
def test_an_environment_that_cannot_be_used(environ: dict[str, str], reason: str) -> None:
    """What is missing or wrong is said."""
    with pytest.raises(Failure, match=reason):
        find_target(environ, entra=True)


def test_a_key_file_and_a_token() -> None:
    """The options contradict each other."""
    with pytest.raises(Failure, match="leave out --key-file"):
        find_target({"ACSID_URL": URL, "ACSID_SCOPE": SCOPE}, None, Path("key"), entra=True)
