"""What all calls to ACS have in common: limits, policies, measurements and errors."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, TypeVar

from azure.core.exceptions import AzureError
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import (
    AsyncHTTPPolicy,
    DistributedTracingPolicy,
    SansIOHTTPPolicy,
    UserAgentPolicy,
)
from azure.core.pipeline.transport import AsyncHttpResponse
from azure.core.rest import HttpRequest
from yarl import URL

from identity_service.azure.acs_errors import (
    Subject,
    no_credential,
    request_id,
    translate,
    unavailable,
)
from identity_service.azure.credential import Credential
from identity_service.azure.failures import Failure, invalid_body
from identity_service.azure.transport import RetryOnce, Transport
from identity_service.errors import ServiceError
from identity_service.log import current_invocation, request_sent

S = TypeVar("S")
T = TypeVar("T")

# The double slash is correct: the name of the resource ends with a slash.
ACS_SCOPE = "https://communication.azure.com//.default"

# Seconds. A repeatable call ends within REPEATABLE, including its one retry.
CONNECT = 3.0
REPEATABLE = 7.5
# The options of a repeatable call.
RETRY_ONCE: dict[str, Any] = {"repeatable": True}


def new_transport(proxy: str) -> Transport:
    """The transport of all calls. Each call limits itself how long it waits for the response."""
    return Transport(CONNECT, None, proxy)


def authentication(credential: Credential | str) -> "Authenticate | SignWithKey":
    """The policy that authenticates requests: with the app's own identity, or with an access key.

    Args:
        credential: The app's credential, or the key in base64.
    """
    return SignWithKey(credential) if isinstance(credential, str) else Authenticate(credential)


def policies(authenticate: object, *more: object, traced: bool) -> list[object]:
    """The policies of a client, in order. Each attempt is authenticated and recorded again.

    Args:
        authenticate: From `authentication`.
        more: Policies that see each call once.
        traced: Whether OpenTelemetry records the requests.
    """
    tracing = [DistributedTracingPolicy()] if traced else []
    return [*more, RetryOnce(), authenticate, Record(), *tracing]


async def result_of(
    call: Awaitable[S],
    parse: Callable[[S], T],
    host: str,
    *,
    subject: Subject = "identity",
    limit: float = REPEATABLE,
) -> T:
    """The parsed response.

    Args:
        call: The call to the SDK.
        parse: Reads its result.
        host: The host of the ACS resource, for the log.
        subject: What the call is about.
        limit: The seconds after which the call is abandoned, with its retry.
    """
    invocation = current_invocation()
    with invocation.acs_call() as measured:
        try:
            async with asyncio.timeout(limit):
                return parse(await call)
        except AzureError as error:
            raise translate(error, host, subject) from error
        except TimeoutError as error:
            if not measured.is_sent:
                reason = f"no token within {limit:.0f} s"
                raise no_credential(ACS_SCOPE, reason) from error
            failure = Failure("timeout", f"no response within {limit:.0f} s")
            raise unavailable(host, failure) from error
        except ServiceError:
            raise
        except Exception as error:  # the SDK raises anything for an invalid response
            raise unavailable(host, invalid_body(error)) from error


class Authenticate(AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Sends the app's own access token.

    azure-core's policy keeps a copy of the token. Here only the credential has one.
    """

    def __init__(self, credential: Credential) -> None:
        super().__init__()
        self._credential = credential

    async def send(
        self, request: PipelineRequest[HttpRequest]
    ) -> PipelineResponse[HttpRequest, AsyncHttpResponse]:
        """Authenticate the request."""
        request.http_request.headers["Authorization"] = await self._credential.bearer(ACS_SCOPE)
        return await self.next.send(request)


class SignWithKey(SansIOHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Signs each request with an access key.

    Source: https://learn.microsoft.com/azure/communication-services/tutorials/hmac-header-tutorial

    Args:
        access_key: The key in base64.
    """

    def __init__(self, access_key: str) -> None:
        self._key = base64.b64decode(access_key)

    def on_request(self, request: PipelineRequest[HttpRequest]) -> None:
        """Add the headers that authenticate the request."""
        sent = request.http_request
        url = URL(sent.url)  # as aiohttp sends it: with ":" for "%3A"
        content = sent.content or b""
        content = content.encode() if isinstance(content, str) else content
        digest = _base64(hashlib.sha256(content).digest())
        date = formatdate(usegmt=True)
        text = f"{sent.method}\n{url.raw_path_qs}\n{date};{url.raw_authority};{digest}"
        signature = _base64(hmac.digest(self._key, text.encode(), "sha256"))
        names = "x-ms-date;host;x-ms-content-sha256"
        sent.headers.update(
            {
                "Host": url.raw_authority,
                "x-ms-date": date,
                "x-ms-content-sha256": digest,
                "Authorization": f"HMAC-SHA256 SignedHeaders={names}&Signature={signature}",
            }
        )


class Record(AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Names this client, and records what the log line of the invocation says about ACS."""

    def __init__(self) -> None:
        super().__init__()
        self._user_agent = UserAgentPolicy().user_agent

    async def send(
        self, request: PipelineRequest[HttpRequest]
    ) -> PipelineResponse[HttpRequest, AsyncHttpResponse]:
        """Send the request, which has its credential. Note the response's id, and a 429."""
        request.http_request.headers.setdefault("User-Agent", self._user_agent)
        request_sent()
        response = await self.next.send(request)
        received = response.http_response
        invocation = current_invocation()
        invocation.upstream_request_id = request_id(received.headers) or ""
        invocation.throttles += received.status_code == HTTPStatus.TOO_MANY_REQUESTS
        return response


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
