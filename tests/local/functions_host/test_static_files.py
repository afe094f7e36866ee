"""Facts about files beside the app: what lies in their folder is served, and nothing else."""

import json
from pathlib import Path

import pytest

from local.functions_host.front_end import take_layers
from local.functions_host.pipeline import Answer, Request, through
from local.functions_host.static_files import StaticFiles

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@pytest.fixture
def files(tmp_path: Path) -> StaticFiles:
    """A folder, and a file beside it."""
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!DOCTYPE html>")
    (folder / "assets" / "page.js").write_text("run()")
    (folder / "keys.pem").write_text("secret")
    (folder / "way-out.html").symlink_to(tmp_path / "secret.html")
    (tmp_path / "secret.html").write_text("secret")
    (tmp_path / "single.css").write_text("body {}")
    (tmp_path / "page.html").write_text("a page")
    (tmp_path / "dist-of-another").mkdir()
    (tmp_path / "dist-of-another" / "index.html").write_text("secret")
    places = {
        "/example/": folder,
        "/docs/": tmp_path / "page.html",
        "/docs/style.css": tmp_path / "single.css",
    }
    return StaticFiles.read(json.dumps({path: str(place) for path, place in places.items()}))


async def ask(files: StaticFiles, path: str, method: str = "GET") -> Answer:
    """What is answered where the app itself would say 418."""

    async def app(_request: Request) -> Answer:
        return Answer(418)

    return await through([files.layer], app)(Request(method, path, "", {}, {}))


@pytest.mark.parametrize(
    ("path", "media_type", "body"),
    [
        ("/example/", "text/html; charset=utf-8", b"<!DOCTYPE html>"),
        ("/example/index.html", "text/html; charset=utf-8", b"<!DOCTYPE html>"),
        ("/example/assets/page.js", "text/javascript; charset=utf-8", b"run()"),
        ("/docs/style.css", "text/css; charset=utf-8", b"body {}"),
        ("/docs/", "text/html; charset=utf-8", b"a page"),
    ],
)
async def test_what_is_there_is_served(
    files: StaticFiles, path: str, media_type: str, body: bytes
) -> None:
    """As what it is."""
    answer = await ask(files, path)

    assert (answer.status, dict(answer.headers)["Content-Type"]) == (200, media_type)
    assert answer.body == body


async def test_a_page_reaches_nobody_but_its_own_origin(files: StaticFiles) -> None:
    """Nor does it run what is not a file of its own, nor stand in anybody's frame."""
    headers = dict((await ask(files, "/example/")).headers)

    assert headers["Content-Security-Policy"] == POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"


async def test_who_leaves_the_slash_out_is_shown_the_way(files: StaticFiles) -> None:
    """Relative links need it."""
    answer = await ask(files, "/example")

    assert (answer.status, answer.headers) == (308, (("Location", "/example/"),))


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/example/", "POST"),
        ("/example/nothing.html", "GET"),
        ("/example/assets/", "GET"),
        ("/example/assets", "GET"),
        ("/example/index.html/", "GET"),
        ("/example/keys.pem", "GET"),
        ("/example/way-out.html", "GET"),
        ("/example/../secret.html", "GET"),
        ("/example/%2e%2e/secret.html", "GET"),
        ("/example//etc/hosts.html", "GET"),
        ("/example-of-another/index.html", "GET"),
        ("/docs/style.css/", "GET"),
        ("/docs/page.html", "GET"),
        ("/api/health", "GET"),
        ("/", "GET"),
    ],
)
async def test_everything_else_goes_on_to_the_app(
    files: StaticFiles, path: str, method: str
) -> None:
    """Whatever lies outside the folder, or in it and is of no known type."""
    assert (await ask(files, path, method)).status == 418


async def test_a_page_may_be_built_while_the_host_runs(tmp_path: Path) -> None:
    """Until then there is none."""
    files = StaticFiles.read(json.dumps({"/example/": str(tmp_path / "dist")}))
    before = await ask(files, "/example/")
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "index.html").write_text("<!DOCTYPE html>")

    assert (before.status, (await ask(files, "/example/")).status) == (418, 200)


@pytest.mark.parametrize("text", ["nonsense", "[]", '{"/": 1}', '{"example/": "dist"}'])
def test_what_is_not_of_the_form_is_refused(text: str) -> None:
    """With the variable's name."""
    with pytest.raises(ValueError, match=r"^LOCAL_HOST_STATIC_FILES: "):
        take_layers({"LOCAL_HOST_STATIC_FILES": text})
