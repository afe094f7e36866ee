"""Calls the identity service, and repeats a call that can succeed later."""

import itertools
import json
import random
import re
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

RESPONSE_LIMIT = 65_536  # bytes
LONGEST_BACKOFF = 60  # seconds
SUCCESS = range(200, 300)

# Returns the headers that authenticate your server.
Authenticate = Callable[[], dict[str, str]]


def with_key(key: str) -> Authenticate:
    """Authenticate with a key of the identity service that opens the functions to be called."""
    # A line break at the end of a key would be in the text of an error.
    return lambda: {"x-functions-key": key.strip()}


def with_entra(credential: Any, application: str) -> Authenticate:
    """Authenticate without a key, if the service has `SERVICE_AUTHENTICATION=entra`.

    Args:
        credential: A credential of azure-identity, such as `ManagedIdentityCredential()`. It caches
            its tokens. Its identity needs the roles Identities.Manage and Tokens.Issue.
        application: The client id of the service's app registration.
    """
    scope = f"api://{application}/.default"
    return lambda: {"Authorization": f"Bearer {credential.get_token(scope).token}"}


class ServiceError(Exception):
    """The service refused a request, or did not respond.

    Attributes:
        status: The status of the response, or 0 without a valid response.
        code: The code of the problem, or an empty string.
        retry_after: The seconds to wait, if the service has sent them.
    """

    def __init__(
        self, text: str, status: int = 0, code: str = "", retry_after: int | None = None
    ) -> None:
        super().__init__(text)
        self.status, self.code, self.retry_after = status, code, retry_after

    @property
    def temporary(self) -> bool:
        """Whether to send the request again, later. Every request can be repeated safely."""
        return self.retry_after is not None or self.status in {0, 500, 502, 503, 504}

    @property
    def refuses_user(self) -> bool:
        """Whether the identity is suspended, deleted or gone. Then its tokens are revoked."""
        return bool(self.code) and self.status in {404, 409}

    def pause(self, failures: int) -> float:
        """The seconds to wait after this number of failures."""
        if self.retry_after is not None:
            return self.retry_after
        backoff: float = min(2 ** min(failures - 1, 9), LONGEST_BACKOFF)
        # Random, so that your servers do not all come back in the same moment.
        return backoff * random.uniform(1, 1.25)  # noqa: S311 -- not a secret


@dataclass(frozen=True)
class Service:
    """The identity service.

    Attributes:
        url: Its URL, without `/api`.
        authenticate: `with_key(…)` or `with_entra(…)`.
        attempts: How often a request is sent at most.
        seconds: How long a request takes at most, with all attempts.
        now: The clock.
        sleep: Waits between two attempts.
    """

    url: str
    authenticate: Authenticate
    attempts: int = 4
    seconds: float = 20
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def send(
        self, method: str, path: str, body: object = None, *, attempts: int | None = None
    ) -> Any:
        """Send a request, and return the content of the response.

        Raises:
            ServiceError: The service refused the request, or the last attempt has failed.
        """
        deadline = self.now() + self.seconds
        for attempt in itertools.count(1):
            try:
                return self._send_once(method, path, body, deadline)
            except ServiceError as error:
                pause = error.pause(attempt)
                too_late = self.now() + pause > deadline
                if not error.temporary or too_late or attempt >= (attempts or self.attempts):
                    raise
            self.sleep(pause)
        return None

    def _send_once(self, method: str, path: str, body: object, deadline: float) -> Any:
        # http.client does not follow redirects. They would send the key to another server.
        url = urlsplit(f"{self.url.rstrip('/')}/api/{path}")
        connect = HTTPSConnection if url.scheme == "https" else HTTPConnection
        content = json.dumps(body) if body else None
        try:
            headers = self.authenticate()
            with closing(connect(url.netloc, timeout=deadline - self.now())) as connection:
                connection.request(method, url.path, content, headers)
                return self._decode(connection.getresponse(), deadline)
        except ServiceError:
            raise
        except Exception as error:
            # An error of the network or of the credential, or a response that is not JSON.
            raise ServiceError(f"No valid response: {type(error).__name__}") from error

    def _decode(self, response: HTTPResponse, deadline: float) -> Any:
        content = b""
        while chunk := response.read1(RESPONSE_LIMIT):
            content += chunk
            if len(content) > RESPONSE_LIMIT or self.now() > deadline:
                raise ServiceError("The response is too long or too slow")
        if response.status in SUCCESS:
            return json.loads(content) if content else None
        is_problem = response.headers.get_content_type() == "application/problem+json"
        problem = json.loads(content) if is_problem else {}
        wait = response.headers.get("Retry-After", "")
        raise ServiceError(
            f"{response.status} {problem.get('detail', '')}".strip(),
            response.status,
            problem.get("code", ""),
            int(wait) if re.fullmatch("[0-9]{1,5}", wait) else None,
        )
