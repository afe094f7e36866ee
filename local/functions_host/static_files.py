"""Files beside the app, on its own origin, so that pages can call it. Azure has no such thing."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Self

import msgspec

from local.functions_host.pipeline import Answer, Handler, Request

INDEX = "index.html"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
# A page is shown tokens: it runs nothing but its own files, reaches nobody but this origin, and
# stands in nobody's frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    ("Content-Security-Policy", POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-cache"),
)


@dataclass(frozen=True)
class StaticFiles:
    """Files and folders by the paths at which they are served; a folder's path ends with a slash.

    They are looked for when they are asked for: a page may be built while the host runs.
    """

    places: Mapping[str, Path]

    @classmethod
    def read(cls, text: str) -> Self:
        """Read `{"/folder/": "folder", "/page.html": "file", …}`.

        Raises:
            ValueError: it is not of that form.
        """
        places = msgspec.json.decode(text, type=dict[str, str])
        for path in places:
            if not path.startswith("/"):
                raise ValueError(f"{path} is no path such as /example/")
        return cls({path: Path(place).resolve() for path, place in places.items()})

    async def layer(self, request: Request, rest: Handler) -> Answer:
        """Answer with a file, or hand the request on."""
        if request.method != "GET":
            return await rest(request)
        file = self._file(request.path)
        if file:
            headers = (("Content-Type", _TYPES[file.suffix]), *_HEADERS)
            return Answer(HTTPStatus.OK, headers, file.read_bytes())
        # What a page asks for by relative paths is found below the slash only.
        if self._file(f"{request.path}/"):
            return Answer(HTTPStatus.PERMANENT_REDIRECT, (("Location", f"{request.path}/"),))
        return await rest(request)

    def _file(self, path: str) -> Path | None:
        """The file at this path, of a type that is known; nothing that lies outside its folder."""
        for root, place in self.places.items():
            if path == root or (root.endswith("/") and path.startswith(root)):
                file = (place / path.removeprefix(root)).resolve()
                file = file / INDEX if path.endswith("/") and not place.is_file() else file
                if file.is_relative_to(place) and file.is_file() and file.suffix in _TYPES:
                    return file
        return None
