"""Pages beside the app, on its own origin, so that they can call it. Azure has no such thing."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Self

import msgspec

from local.functions_host.pipeline import Answer, Handler, Request

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".png": "image/png",
}
# A page is shown a key: it runs nothing and reaches nobody but this origin.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'"
)
_HEADERS = (
    ("Content-Security-Policy", _POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-cache"),
)


@dataclass(frozen=True)
class Pages:
    """Files by the paths at which they are served."""

    files: Mapping[str, Path]

    @classmethod
    def read(cls, text: str) -> Self:
        """Read `{"/path": "file", …}`; a path that ends with a slash is found without it too.

        Raises:
            ValueError: it is not of that form, or of a type that is not known here.
        """
        files = {
            path: Path(file)
            for path, file in msgspec.json.decode(text, type=dict[str, str]).items()
        }
        strangers = [file.name for file in files.values() if file.suffix not in _TYPES]
        if strangers:
            raise ValueError(f"no media type is known for {', '.join(strangers)}")
        return cls(files)

    async def layer(self, request: Request, rest: Handler) -> Answer:
        """Answer with a file, or hand the request on."""
        file = self.files.get(request.path)
        if request.method != "GET":
            return await rest(request)
        if file:
            headers = (("Content-Type", _TYPES[file.suffix]), *_HEADERS)
            return Answer(HTTPStatus.OK, headers, file.read_bytes())
        if f"{request.path}/" in self.files:
            return Answer(HTTPStatus.PERMANENT_REDIRECT, (("Location", f"{request.path}/"),))
        return await rest(request)
