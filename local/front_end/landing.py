"""The landing page, and the function key for the page at /docs/. Azure has neither: see README.md.

The key is on the page, so no page of another origin may read it. The responses have no CORS
headers, they are nothing that a `<script>` could run, and `front_end` shows them under this
machine's own names only.
"""

import json
from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from pathlib import Path
from string import Template
from typing import Self
from urllib.parse import quote

import msgspec

from local.front_end.pages import PAGE_HEADERS, json_response
from local.functions_host.http import Handler, Request, Response

PATH = "/"
# No function's route can start like this.
KEY_PATH = "/.local/key"
_TEMPLATE = Template((Path(__file__).parent / "landing_page" / "index.html").read_text())
_HEADERS = (("Content-Type", "text/html; charset=utf-8"), *PAGE_HEADERS)
_NO_KEY = "<p>Not used: services authenticate with Entra tokens.</p>"


class _Content(msgspec.Struct, frozen=True, rename="camel"):
    """What the page shows.

    Attributes:
        authentication: the header with which a service calls the app, quoted for `sh`.
        env: the path of the file with shell variables, quoted for `sh`.
        scopes: of the token that the command requests.
        places: the address of each part besides the app and its host.
        function_key: None if services do not call with keys.
    """

    authentication: str
    env: str
    scopes: list[str]
    places: dict[str, str]
    function_key: str | None = None


@dataclass(frozen=True, repr=False)
class LandingPage:
    """Responds at `/`."""

    content: _Content

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `{"authentication": …, "env": …, "scopes": […], "places": {…}, "functionKey": …}`.

        Raises:
            ValueError: the text is malformed.
        """
        return cls(msgspec.json.decode(text, type=_Content))

    async def layer(self, request: Request, rest: Handler) -> Response:
        """Respond with the page or the key, or pass the request on."""
        if (request.method, request.path) == ("GET", PATH):
            page = self._render(f"http://{request.headers['host']}")
            return Response(HTTPStatus.OK, _HEADERS, page.encode())
        if (request.method, request.path) == ("GET", KEY_PATH):
            key = {"functionKey": self.content.function_key}
            return json_response(HTTPStatus.OK, "application/json", key)
        return await rest(request)

    def _render(self, url: str) -> str:
        content, key = self.content, self.content.function_key
        places = {"App": f"{url}/api", "Functions host": f"{url}/admin", **content.places}
        return _TEMPLATE.substitute(
            command=escape(_first_call(url, content)),
            env=escape(content.env),
            key=f'<code data-copy="function key">{escape(key)}</code>' if key else _NO_KEY,
            places="".join(_place(name, address) for name, address in places.items()),
            ready=f'<a href="/api/ready?code={quote(key)}">Ready</a>' if key else "",
        )


def _first_call(url: str, content: _Content) -> str:
    return (
        f"curl -X POST {url}/api/identities/with-token \\\n"
        f"  -H {content.authentication} \\\n"
        f"  -d '{json.dumps({'scopes': content.scopes})}'"
    )


def _place(name: str, address: str) -> str:
    return f"<dt>{escape(name)}</dt><dd><code>{escape(address)}</code></dd>"
