"""The backend of an app: signs in the app's users, and gives them access tokens for ACS.

Settings are environment variables. SERVICE_URL is the URL of the identity service, and SERVICE_KEY
a key for it. Without a key, the backend calls with its managed identity; then SERVICE_APPLICATION
is the client id of the service's app registration. PORT is 8080 by default.
"""

import json
import os
from contextlib import suppress
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from refresher import AccessTokens
from service import Authenticate, Service, ServiceError, with_entra, with_key
from users import Refused, User, Users

BODY_LIMIT = 4096  # bytes


class Reply(NamedTuple):
    """A response. `cookie` starts a session."""

    status: int
    content: object = None
    cookie: str = ""
    retry_after: int | None = None


class Backend:
    """The operations. Each takes the session and the JSON body of a request."""

    def __init__(self, tokens: AccessTokens) -> None:
        self._tokens, self._users = tokens, Users()

    def sign_up(self, _session: str, body: dict[str, Any]) -> Reply:
        """Create a user."""
        self._users.sign_up(_text(body, "name"), _text(body, "password"))
        return Reply(201)

    def sign_in(self, _session: str, body: dict[str, Any]) -> Reply:
        """Start a session."""
        session = self._users.sign_in(_text(body, "name"), _text(body, "password"))
        return Reply(201, cookie=session)

    def token(self, session: str, _body: dict[str, Any]) -> Reply:
        """Return an access token, and the id of the user's identity in ACS."""
        user = self._users.signed_in(session)
        self._revoke(user)
        # Set before the request, because the response can be lost.
        user.has_identity = True
        token = self._tokens.get(user.id)
        # Who has signed out in the meantime, or whose password has been changed, gets no token.
        self._users.signed_in(session)
        return Reply(200, {"id": token.id, "token": token.token})

    def change_password(self, session: str, body: dict[str, Any]) -> Reply:
        """Change the password, end all other sessions, and revoke the user's tokens."""
        password, new_password = _text(body, "password"), _text(body, "newPassword")
        user = self._users.change_password(session, password, new_password)
        return self._try_to_revoke(user)

    def sign_out(self, session: str, _body: dict[str, Any]) -> Reply:
        """End the session. The user's last session revokes the user's tokens."""
        return self._try_to_revoke(self._users.sign_out(session))

    def delete_account(self, session: str, _body: dict[str, Any]) -> Reply:
        """Delete the identity, then the user, who can repeat the request if it fails."""
        user = self._users.signed_in(session)
        self._tokens.delete(user.id)
        self._users.remove(user)
        return Reply(204)

    def _try_to_revoke(self, user: User) -> Reply:
        try:
            self._revoke(user)
        except ServiceError:
            # The user's next token request repeats it.
            return Reply(202)
        return Reply(204)

    def _revoke(self, user: User) -> None:
        if user.must_revoke:
            # Cleared before, so that a mark that is set during the request stays.
            user.must_revoke = False
            try:
                self._tokens.revoke(user.id)
            except ServiceError:
                user.must_revoke = True
                raise


ROUTES = {
    "POST /users": Backend.sign_up,
    "POST /session": Backend.sign_in,
    "POST /token": Backend.token,
    "PUT /password": Backend.change_password,
    "DELETE /session": Backend.sign_out,
    "DELETE /account": Backend.delete_account,
}


class Handler(BaseHTTPRequestHandler):
    """Reads a request, calls the operation, and writes the response."""

    backend: Backend
    timeout = 30  # seconds for a client to send its request

    def reply(self) -> None:
        """Handle one request."""
        reply = self._call()
        content = b"" if reply.content is None else json.dumps(reply.content).encode() + b"\n"
        self.send_response(reply.status)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if reply.retry_after is not None:
            self.send_header("Retry-After", str(reply.retry_after))
        if reply.cookie:
            # Strict: no other site can send requests with it.
            attributes = "HttpOnly; Secure; SameSite=Strict; Path=/"
            self.send_header("Set-Cookie", f"session={reply.cookie}; {attributes}")
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_PUT = do_DELETE = reply  # noqa: N815 -- the names that BaseHTTPRequestHandler calls

    def _call(self) -> Reply:
        try:
            operation = ROUTES.get(f"{self.command} {self.path}")
            if not operation:
                return Reply(404, {"error": "Not found"})
            return operation(self.backend, self._session(), self._body())
        except Refused as refused:
            return Reply(refused.status, {"error": str(refused)})
        except ServiceError as error:
            self.log_error("identity service: %s", error)
            if error.refuses_user:
                return Reply(403, {"error": "Your identity is blocked"})
            return Reply(503, {"error": "Try again later"}, retry_after=error.retry_after)

    def _session(self) -> str:
        cookie = SimpleCookie(self.headers.get("Cookie", "")).get("session")
        return cookie.value if cookie else ""

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > BODY_LIMIT:
            raise Refused(413, "The body is too large")
        try:
            body = json.loads(self.rfile.read(int(length)) or b"{}")
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Refused(400, "The body is not a JSON object")
        return body


def _text(body: dict[str, Any], name: str) -> str:
    text = body.get(name)
    if not isinstance(text, str) or not text:
        raise Refused(400, f"{name} is missing")
    return text


def authentication() -> Authenticate:
    """Return how the backend authenticates: with its key, or else with its managed identity."""
    if key := os.environ.get("SERVICE_KEY"):
        return with_key(key)
    from azure.identity import ManagedIdentityCredential  # noqa: PLC0415 -- not needed with a key

    return with_entra(ManagedIdentityCredential(), os.environ["SERVICE_APPLICATION"])


if __name__ == "__main__":
    service = Service(os.environ["SERVICE_URL"], authentication())
    Handler.backend = Backend(AccessTokens(service))
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Handler)
    print(f"listening on http://localhost:{server.server_port}", flush=True)  # noqa: T201
    with suppress(KeyboardInterrupt):
        server.serve_forever()
