"""Pages beside the app: what is listed is served, under a policy that lets nothing else in."""

import json
from pathlib import Path

import pytest

from local.functions_host.front_end import take_layers
from local.functions_host.pages import Pages
from local.functions_host.pipeline import Answer, Request, through

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'"
)


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    """One page."""
    (tmp_path / "index.html").write_text("<!DOCTYPE html>")
    (tmp_path / "secret.html").write_text("not for everybody")
    return Pages.read(json.dumps({"/docs/": str(tmp_path / "index.html")}))


async def ask(pages: Pages, path: str, method: str = "GET") -> Answer:
    """What is answered where the app itself would say 418."""

    async def app(request: Request) -> Answer:
        return Answer(418)

    return await through([pages.layer], app)(Request(method, path, "", {}, {}))


async def test_page(pages: Pages) -> None:
    """What is listed is served as what it is."""
    answer = await ask(pages, "/docs/")

    assert (answer.status, dict(answer.headers)["Content-Type"], answer.body) == (
        200,
        "text/html; charset=utf-8",
        b"<!DOCTYPE html>",
    )


async def test_policy(pages: Pages) -> None:
    """A page may load what this origin serves, and call it, and nothing else."""
    answer = await ask(pages, "/docs/")

    assert dict(answer.headers)["Content-Security-Policy"] == POLICY


async def test_without_the_slash(pages: Pages) -> None:
    """Who leaves out the slash at the end is shown the way: relative links need it."""
    answer = await ask(pages, "/docs")

    assert (answer.status, answer.headers) == (308, (("Location", "/docs/"),))


@pytest.mark.parametrize(
    ("path", "method"),
    [("/docs/", "POST"), ("/docs/secret.html", "GET"), ("/api/health", "GET"), ("/", "GET")],
)
async def test_everything_else(path: str, method: str, pages: Pages) -> None:
    """Everything else goes on to the app, whatever lies beside the page."""
    answer = await ask(pages, path, method)

    assert answer.status == 418


@pytest.mark.parametrize("text", ["nonsense", "[]", '{"/": 1}', '{"/": "keys.pem"}'])
def test_not_of_the_form(text: str) -> None:
    """What cannot be read is refused, and the variable is named."""
    with pytest.raises(ValueError, match=r"^LOCAL_HOST_PAGES: "):
        take_layers({"LOCAL_HOST_PAGES": text})
