"""Pages on the app's own origin, and a sign-in for them. Azure has neither: see README.md."""

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Self

import aiohttp
import msgspec

from local.functions_host.http import Handler, Request, Response

INDEX = "index.html"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".log": "text/plain; charset=utf-8",
    # Some browsers download text/markdown instead of showing it.
    ".md": "text/plain; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
# A page handles tokens, so it may only run its own files, call its own origin, and not be framed.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A page of another origin can use the response neither as a script nor as anything else.
_NOT_FOR_OTHERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
PAGE_HEADERS = (
    ("Content-Security-Policy", POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
    *_NOT_FOR_OTHERS,
)
# No function's route can start like this.
SIGN_IN_PATH = "/.local/sign-in"
CONTROL_HEADER = "x-acs-control-key"
# Seconds.
SIGN_IN_TIMEOUT = 10.0


@dataclass(frozen=True)
class StaticFiles:
    """Serves files and folders by URL path. The path of a folder ends with a slash.

    Files are read for each request, so a page can be built while the host runs.
    """

    places: Mapping[str, Path]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `{"/folder/": "folder", "/page.html": "file", …}`.

        Raises:
            ValueError: the text is malformed.
        """
        places = msgspec.json.decode(text, type=dict[str, str])
        for path in places:
            if not path.startswith("/"):
                raise ValueError(f"{path} is not a path such as /example/")
        return cls({path: Path(place).resolve() for path, place in places.items()})

    async def layer(self, request: Request, rest: Handler) -> Response:
        """Respond with a file, or pass the request on."""
        if request.method != "GET":
            return await rest(request)
        file = self._file(request.path)
        if file:
            headers = (("Content-Type", _TYPES[file.suffix]), *PAGE_HEADERS)
            return Response(HTTPStatus.OK, headers, file.read_bytes())
        # The page's relative links only work below a trailing slash.
        if self._file(f"{request.path}/"):
            return Response(HTTPStatus.PERMANENT_REDIRECT, (("Location", f"{request.path}/"),))
        return await rest(request)

    def _file(self, path: str) -> Path | None:
        """The file for this path, if its type is known and it lies inside its folder."""
        for root, place in self.places.items():
            if path == root or (root.endswith("/") and path.startswith(root)):
                file = (place / path.removeprefix(root)).resolve()
                file = file / INDEX if path.endswith("/") and not place.is_file() else file
                if file.is_relative_to(place) and file.is_file() and file.suffix in _TYPES:
                    return file
        return None


class _Endpoint(msgspec.Struct, frozen=True):
    url: str
    key: str
    certificates: str


@dataclass(frozen=True, repr=False)
class LocalSignIn:
    """Signs users in for pages on the app's own origin.

    The host has no signing key. It forwards the request to the local Azure's control endpoint,
    whose key the pages never see.
    """

    url: str
    key: str
    tls: ssl.SSLContext

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `{"url": …, "key": …, "certificates": …}`: the endpoint, its key, its CA bundle.

        Raises:
            ValueError: the text is malformed, or the bundle cannot be read.
        """
        endpoint = msgspec.json.decode(text, type=_Endpoint)
        try:
            tls = ssl.create_default_context(cafile=endpoint.certificates)
        except OSError as error:
            raise ValueError(f"certificates: {error}") from error
        return cls(endpoint.url, endpoint.key, tls)

    async def layer(self, request: Request, rest: Handler) -> Response:
        """Respond to `POST /.local/sign-in {"user": "alice"}` with `{"token": …}`."""
        if (request.method, request.path) != ("POST", SIGN_IN_PATH):
            return await rest(request)
        try:
            return await self._forward(await request.read_body())
        except (aiohttp.ClientError, TimeoutError):
            return _problem(HTTPStatus.BAD_GATEWAY, "The local Azure does not respond.")

    async def _forward(self, body: bytes) -> Response:
        timeout = aiohttp.ClientTimeout(total=SIGN_IN_TIMEOUT)
        async with (
            aiohttp.ClientSession(headers={CONTROL_HEADER: self.key}, timeout=timeout) as session,
            session.post(self.url, data=body, ssl=self.tls) as response,
        ):
            document = await response.json()
        if response.ok:
            return json_response(HTTPStatus.OK, "application/json", {"token": document["token"]})
        return _problem(response.status, document["error"]["message"])


def _problem(status: int, detail: str) -> Response:
    document = {"title": "Sign-in failed", "status": status, "detail": detail}
    return json_response(status, "application/problem+json", document)


def json_response(status: int, media_type: str, document: object) -> Response:
    """A response with a secret, which must not be cached."""
    headers = (("Content-Type", media_type), ("Cache-Control", "no-store"), *_NOT_FOR_OTHERS)
    return Response(status, headers, json.dumps(document).encode())
