"""Calls the app: retries what is safe to repeat, obeys Retry-After, and limits its own rate."""

import json
import os
import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import quote

import httpx

from acsid.entra import Tokens
from acsid.failures import Exit, Failure, usage
from acsid.profile import Target

# Seconds. The app promises every response within ten, and the platform may start an instance first.
_TIMEOUT = httpx.Timeout(60, connect=10)
# Seconds between two attempts, if the app does not say.
_FIRST_DELAY, _LONGEST_DELAY = 1.0, 30.0
# Seconds between two attempts, even if the app says 0.
_SHORTEST_DELAY = 0.2
# docs/problems.md says to repeat these.
_TRY_AGAIN = {429, 500, 502, 503, 504}
# Invalid settings do not correct themselves while a command waits.
_LASTING = {"not_configured", "wrong_resource"}
# The most that a page of a list may hold.
PAGE_SIZE = 1000

# What to do about a problem, by its code. `ID` stands for the id that the problem names.
_HINTS = {
    "identity_deleted": "acsid restore ID takes the deletion back.",
    "identity_suspended": "acsid resume ID lifts the suspension.",
    "identity_not_deleted": "Only a deleted identity can be purged: acsid delete ID.",
    "identity_not_found": "If it exists in ACS, acsid register ID makes the app know it.",
    "identity_gone": "acsid delete ID and acsid purge ID let its user get another one.",
    "purge_protected": "The setting PURGE_PROTECTION of the app forbids it.",
    "user_has_identity": "acsid find ID shows it.",
    "user_mismatch": "acsid find ID shows its user; acsid unregister ID forgets it.",
    "teams_access_not_found": "If ACS has it, acsid teams import FILE makes the app know it.",
    "throttled": "The quota of the ACS resource is used up.",
}


# Problems of the caller, who may do nothing of this kind: no other request would succeed either.
_CALLER_REFUSED = {"not_signed_in", "not_allowed", "sign_in_not_enabled"}
_KEY_HINT = (
    "Check that key and address belong to the same app. az functionapp keys list shows the keys."
    " An app with SERVICE_AUTHENTICATION=entra accepts no keys: acsid --entra."
)
_ENTRA_HINT = (
    "It must be the token of an application, for this app, with the role that the operation needs."
    " az account show says who is signed in. ACSID_TOKEN may have expired."
)


class Repeat(Enum):
    """Which requests may be sent again.

    Attributes:
        ALWAYS: It is harmless if both arrive.
        UNSENT: Only if it is certain that the app has not acted on it.
    """

    ALWAYS = "always"
    UNSENT = "unsent"


@dataclass(frozen=True)
class Answer:
    """A response.

    Attributes:
        failure: What a response without success means. Only for statuses that the caller accepts.
        was_repeated: Whether an earlier attempt may have succeeded.
    """

    status: int
    content: dict[str, Any]
    failure: Failure | None = None
    was_repeated: bool = False


class RateLimiter:
    """Spaces requests evenly.

    Args:
        per_second: How many requests may start in a second. 0 means no limit.
    """

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second if per_second else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def reserve(self) -> float:
        """Reserve the next free time and return the seconds until then."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._interval
            return start - now


class Client:
    """Sends requests to one app. Threads may share it.

    Args:
        rate: Requests per second.
        patience: Seconds for which one request is repeated before the command gives up.
        on_wait: Called with the seconds and the reason before a wait.
    """

    def __init__(
        self,
        target: Target,
        *,
        rate: float = 20,
        patience: float = 30,
        on_wait: Callable[[float, str], None] = lambda _seconds, _reason: None,
    ) -> None:
        self.target = target
        self.patience = patience
        self.on_wait = on_wait
        self._limiter = RateLimiter(rate)
        self._stopped = threading.Event()
        has_tokens = target.scope or target.token
        self._tokens = Tokens(target.scope, target.token) if has_tokens else None
        # An address that has never responded is probably wrong: waiting would not help.
        self._has_responded = False
        try:
            self._http = httpx.Client(
                headers={"Accept": "application/json", "User-Agent": "acsid"},
                timeout=_TIMEOUT,
                # The key would be sent to the other address.
                follow_redirects=False,
                verify=_certificates(),
                # A proxy must not see the key of an app on this machine.
                trust_env=not target.is_loopback,
            )
        # A file without certificates; a proxy of an unknown kind, or SOCKS, which needs a package.
        except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
            raise usage(
                f"The certificates or the proxy cannot be used: {str(error).rstrip('.')}.",
                "Check SSL_CERT_FILE, HTTPS_PROXY and ALL_PROXY. SOCKS is not supported.",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._http.close()

    def stop(self) -> None:
        """End all waits: requests that wait for another attempt fail at once."""
        self._stopped.set()

    def wait(self, seconds: float, reason: str = "") -> None:
        """Wait, unless the client is stopped meanwhile.

        Raises:
            Failure: the client was stopped.
        """
        if reason:
            self.on_wait(seconds, reason)
        if self._stopped.wait(seconds):
            raise Failure(Exit.INTERRUPTED, "interrupted", "Stopped.")

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        accepted: frozenset[int] = frozenset(),
        repeat: Repeat = Repeat.ALWAYS,
    ) -> Answer:
        """Call an operation. `path` is what follows `/api/`.

        A response whose status is in `accepted` is returned with its failure instead of raised.

        Raises:
            Failure: the app refused the request, or did not respond in time.
        """
        url = _address(f"{self.target.url}/api/{quote(path, safe='/:')}", query)
        return self._call(method, url, body, accepted=accepted, repeat=repeat)

    def find(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any] | None:
        """Get what is at a path. None if the app says that it has no such.

        Raises:
            Failure: as for `call`.
        """
        not_found = frozenset({HTTPStatus.NOT_FOUND})
        answer = self.call("GET", path, query=query, accepted=not_found)
        if answer.failure and not answer.failure.problem:
            raise answer.failure  # not the app's own answer
        return None if answer.failure else answer.content

    def start_sweep(self, master_key: str) -> None:
        """Start the timer function that purges deleted identities.

        Raises:
            Failure: as for `call`.
        """
        url = httpx.URL(f"{self.target.url}/admin/functions/purge_deleted_identities")
        self._call("POST", url, {"input": ""}, master_key)

    def pages(
        self, path: str, query: Mapping[str, str], size: int = PAGE_SIZE
    ) -> Iterator[list[dict[str, Any]]]:
        """Read a list page by page. A page can be empty.

        Raises:
            Failure: as for `call`, or the link to the next page is not acceptable.
        """
        url = _address(f"{self.target.url}/api/{path}", {**query, "maxPageSize": str(size)})
        visited = set()
        while True:
            visited.add(hash(url))
            content = self._call("GET", url, None).content
            items = content.get("value")
            if not isinstance(items, list) or not all(map(_is_item, items)):
                raise _not_the_app(url)
            yield items
            link = content.get("nextLink")
            if not link:
                return
            url = self._following(url, link)
            if hash(url) in visited:
                raise _bad_link("it leads back to a page that was already read")

    def _following(self, url: httpx.URL, link: object) -> httpx.URL:
        try:
            following = url.join(str(link))
        except httpx.InvalidURL as error:
            raise _bad_link("it is not an address") from error
        if _origin(following) != _origin(url) or following.userinfo:
            raise _bad_link(f"it leads to another address, {following.host}")
        return following

    def _call(
        self,
        method: str,
        url: httpx.URL,
        body: Mapping[str, Any] | None,
        master_key: str | None = None,
        accepted: frozenset[int] = frozenset(),
        repeat: Repeat = Repeat.ALWAYS,
    ) -> Answer:
        content = None if body is None else json.dumps(body).encode()
        deadline = time.monotonic() + self.patience
        delay, was_repeated = _FIRST_DELAY, False
        while True:
            self.wait(self._limiter.reserve())
            response, failure, may_have_acted = self._send(method, url, content, master_key)
            if response is not None and (not failure or response.status_code in accepted):
                received = _content(response, is_success=not failure)
                return Answer(response.status_code, received, failure, was_repeated)
            assert failure  # noqa: S101 -- there is no response, or it is not a success
            if failure.exit_code is not Exit.NO_ANSWER or failure.code in _LASTING:
                raise failure
            if may_have_acted and repeat is Repeat.UNSENT:
                failure.hint = "The app may have acted on it all the same. Check before you repeat."
                raise failure
            pause = _retry_after(response) if response is not None else None
            if pause is None:
                pause = delay * random.uniform(0.8, 1.2)  # noqa: S311 -- no secret
                delay = min(delay * 2, _LONGEST_DELAY)
            if failure.code == "unreachable" and not self._has_responded:
                raise failure
            if time.monotonic() + pause > deadline:
                raise _in_the_end(failure, pause)
            was_repeated |= may_have_acted
            self.wait(max(pause, _SHORTEST_DELAY), failure.message)

    def _send(
        self, method: str, url: httpx.URL, content: bytes | None, master_key: str | None
    ) -> "_Attempt":
        """Send once, and once more with a new token if the app does not accept the old one."""
        if master_key or not self._tokens:
            key = master_key or self.target.key
            return self._attempt(method, url, content, {"x-functions-key": key} if key else {})
        token = self._tokens.current()
        first = self._attempt(method, url, content, _bearer(token))
        response = first[0]
        if response is None or response.status_code != HTTPStatus.UNAUTHORIZED:
            return first
        other = self._tokens.other_than(token)
        return self._attempt(method, url, content, _bearer(other)) if other else first

    def _attempt(
        self, method: str, url: httpx.URL, content: bytes | None, headers: dict[str, str]
    ) -> "_Attempt":
        """Send. The last part says whether the app may have acted in spite of a failure."""
        if content is not None:
            headers["Content-Type"] = "application/json"
        try:
            response = self._http.request(method, url, content=content, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            return None, _unreachable(url, error), False
        except httpx.TransportError as error:
            return None, _interrupted(url, error), True
        except httpx.HTTPError as error:  # such as a body that cannot be decompressed
            return None, _interrupted(url, error), True
        self._has_responded = True
        if response.is_success:
            return response, None, False
        may_have_acted = response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
        return response, refusal(response, with_token="Authorization" in headers), may_have_acted


_Attempt = tuple[httpx.Response | None, Failure | None, bool]


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def problem_failure(problem: Mapping[str, Any], exit_code: Exit) -> Failure:
    """Return the failure that a problem describes."""
    code = str(problem.get("code", ""))
    title, detail = str(problem.get("title", "")), str(problem.get("detail", ""))
    if detail.startswith(title):
        title = ""
    text = f"{title}: {detail}" if title and detail else title or detail or code
    if problem.get("field"):
        text += f" (field: {problem['field']})"
    if problem.get("allowed"):
        text += f" Allowed: {problem['allowed']}."
    identity_id = problem.get("identityId")
    hint = _HINTS.get(code, "")
    if code == "identity_deleted" and not problem.get("deletedBy"):
        hint = ""  # it is being purged
    if identity_id:
        text += "" if str(identity_id) in text else f" Identity: {identity_id}."
        hint = hint.replace("ID", str(identity_id))
    if problem.get("upstreamRequestId"):
        text += f" Request id for Microsoft's support: {problem['upstreamRequestId']}."
    return Failure(exit_code, code, text, hint=hint, problem=problem)


def refusal(response: httpx.Response, *, with_token: bool = False) -> Failure:
    """Return the failure that a response without success means."""
    status = response.status_code
    problem = _problem(response)
    if problem is not None:
        failure = problem_failure(problem, _exit_code(status, problem))
        if failure.exit_code is Exit.KEY_REFUSED:
            failure.hint = _ENTRA_HINT if with_token else _KEY_HINT
        return failure
    code = f"http_{status}"
    if response.is_redirect:
        return Failure(
            Exit.REFUSED,
            code,
            f"The app redirects to {response.headers.get('Location', 'another address')}.",
            hint="acsid does not follow: the key would be sent there. Change ACSID_URL instead.",
        )
    if status in (401, 403):
        return Failure(
            Exit.KEY_REFUSED,
            code,
            f"The app does not accept the {'token' if with_token else 'key'} ({status}).",
            hint=_ENTRA_HINT if with_token else _KEY_HINT,
        )
    if status == HTTPStatus.NOT_FOUND:
        return Failure(
            Exit.REFUSED,
            code,
            f"There is no such operation at {response.request.url.copy_with(query=None)}.",
            hint="Is the address right? Otherwise the app is older than this acsid: update it.",
        )
    if status in _TRY_AGAIN:
        text = f"The platform in front of the app answers {status}"
        return Failure(Exit.NO_ANSWER, code, f"{text}: no instance can respond.")
    return Failure(Exit.REFUSED, code, f"The platform in front of the app answers {status}.")


def _exit_code(status: int, problem: Mapping[str, Any]) -> Exit:
    if status in _TRY_AGAIN:
        return Exit.NO_ANSWER
    # With a field, it is this request that is not allowed. Without one, it is the caller.
    is_caller = problem.get("code") in _CALLER_REFUSED and not problem.get("field")
    if is_caller or status == HTTPStatus.UNAUTHORIZED:
        return Exit.KEY_REFUSED
    return Exit.NOT_FOUND if status == HTTPStatus.NOT_FOUND else Exit.REFUSED


def _problem(response: httpx.Response) -> dict[str, Any] | None:
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
    if kind != "application/problem+json":
        return None
    content = _json(response)
    return content if isinstance(content, dict) else None


def _content(response: httpx.Response, *, is_success: bool) -> dict[str, Any]:
    content = _json(response) if response.content else {}
    if isinstance(content, dict):
        return content
    if is_success:
        raise _not_the_app(response.request.url)
    return {}


def _is_item(item: object) -> bool:
    """Whether it is an identity, or Teams Phone access."""
    return isinstance(item, dict) and isinstance(item.get("id") or item.get("objectId"), str)


def _json(response: httpx.Response) -> Any:
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        return None


def _retry_after(response: httpx.Response) -> float | None:
    """Return the seconds that the app asks to wait, if any."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _certificates() -> ssl.SSLContext:
    """Return the usual certificates, or those that SSL_CERT_FILE names, also on loopback."""
    file = os.environ.get("SSL_CERT_FILE")
    return ssl.create_default_context(cafile=file) if file else httpx.create_ssl_context()


def _address(base: str, query: Mapping[str, str] | None) -> httpx.URL:
    try:
        return httpx.URL(base, params=query or None)
    except UnicodeEncodeError as error:
        raise usage("An argument is not UTF-8.") from error


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _in_the_end(failure: Failure, pause: float) -> Failure:
    failure.hint = f"{failure.hint} Try again in {max(1, round(pause))} s.".lstrip()
    return failure


def _unreachable(url: httpx.URL, error: Exception) -> Failure:
    hint = "Check ACSID_URL and the network."
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        hint = "If a proxy replaces certificates, SSL_CERT_FILE must name its authority."
    text = f"No connection to {url.host}: {error}."
    return Failure(Exit.NO_ANSWER, "unreachable", text, hint=hint)


def _interrupted(url: httpx.URL, error: Exception) -> Failure:
    reason = str(error).rstrip(".") or type(error).__name__
    text = f"The connection to {url.host} broke before the answer arrived: {reason}."
    return Failure(Exit.NO_ANSWER, "connection_broken", text)


def _not_the_app(url: httpx.URL) -> Failure:
    return Failure(
        Exit.REFUSED,
        "not_the_app",
        f"{url.copy_with(query=None)} answers, but not as this app does.",
        hint="Check ACSID_URL.",
    )


def _bad_link(reason: str) -> Failure:
    text = f"The link to the next page is not acceptable: {reason}."
    return Failure(Exit.REFUSED, "bad_next_link", text)
