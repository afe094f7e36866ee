"""Facts about the refreshers for servers and bots, in both languages."""

import importlib.util
import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from urllib.error import HTTPError

import pytest

from local.quickstart import claims
from tests.support.stack import PATIENCE, ROOT, App

Question = tuple[float, str]
# Answers questions: so many minutes after the start, for whom? By a token, or by what is wrong.
Ask = Callable[[Sequence[Question], str], list[str]]
# So many minutes after it is issued, a token of an hour is due.
DUE = 50


def ask_python(service: str, questions: Sequence[Question], key: str) -> list[str]:
    """What examples/python/refresher.py answers."""
    path = ROOT / "examples" / "python" / "refresher.py"
    spec = importlib.util.spec_from_file_location("refresher", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    start = now = time.time()
    token_for = module.refresher(service, key, lambda: now)
    answers = []
    for minutes, user in questions:
        now = start + minutes * 60
        try:
            answers.append(token_for(user))
        except HTTPError as refused:
            with refused:
                answers.append(str(refused.code))
    return answers


def ask_node(service: str, questions: Sequence[Question], key: str) -> list[str]:
    """What examples/node/refresher.mjs answers."""
    lines = [json.dumps({"minutes": minutes, "user": user}) for minutes, user in questions]
    done = subprocess.run(  # noqa: S603 -- our own script
        ["node", str(ROOT / "tests" / "examples" / "ask_refresher.mjs")],  # noqa: S607 -- as in PATH
        input="\n".join(lines),
        env={"PATH": os.environ["PATH"], "SERVICE": service, "KEY": key},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return [each.get("token") or each["error"].split()[0] for each in answers]


@pytest.fixture(params=[ask_python, ask_node], ids=["python", "node"])
def ask(request: pytest.FixtureRequest, app: App) -> Ask:
    """A refresher of this language, asked one question after the other."""
    return partial(request.param, app.url)


@pytest.fixture
def user() -> str:
    """Somebody whom nobody has seen before."""
    return f"user-{uuid.uuid4()}"


def test_a_user_gets_a_token(ask: Ask, app: App, user: str) -> None:
    """To chat with."""
    [token] = ask([(0, user)], app.function_key)

    assert claims(token)["acsScope"] == "chat"


def test_a_token_is_kept_until_it_is_due(ask: Ask, app: App, user: str) -> None:
    """Until `refreshAfter`, and no longer; then comes the next one, of the same identity."""
    questions = [(minutes, user) for minutes in (0, 0, DUE - 1, DUE + 1)]

    first, again, still, due = ask(questions, app.function_key)

    assert first == again == still != due
    assert claims(first)["skypeid"] == claims(due)["skypeid"]


def test_every_user_gets_their_own(ask: Ask, app: App, user: str) -> None:
    """One's token is nobody else's."""
    mine, others, mine_again = ask([(0, user), (0, f"other-{user}"), (0, user)], app.function_key)

    assert mine == mine_again
    assert claims(mine)["skypeid"] != claims(others)["skypeid"]


def test_a_refusal_is_told_and_not_kept(ask: Ask, user: str) -> None:
    """A wrong key, for one."""
    assert ask([(0, user), (0, user)], "wrong") == ["401", "401"]
