"""Does to a connection what a fault says."""

from collections.abc import Callable

import msgspec
from aiohttp import web

from local.acs.faults import AnyFault, Armed, Drop, Half, Status, UnknownKey
from local.acs.messages import Answer
from local.acs.resource import Resource


class Saboteur:
    """Answers a call in the way of the fault that it met."""

    def __init__(self, resource: Resource) -> None:
        self._holds = resource.holds
        self._signer = resource.signer

    async def answer(
        self, armed: Armed, request: web.Request, effect: Callable[[], Answer]
    ) -> Answer | web.StreamResponse:
        """An answer still to be sent, or the response that is all the client will see."""
        fault = armed.fault
        done = effect() if fault.when == "after" else None
        if not await self._holds.keep(armed, lambda: is_connected(request)):
            return drop(request)
        if isinstance(fault, Drop):
            return drop(request)
        if isinstance(fault, Status):
            return fault.answer()
        return await self._disfigured(fault, request, done or effect())

    async def _disfigured(
        self, fault: AnyFault, request: web.Request, answer: Answer
    ) -> Answer | web.StreamResponse:
        match fault:
            case Half():
                return await send_half(request, answer)
            case UnknownKey():
                return self._forged(answer)
            case _:
                return answer

    def _forged(self, answer: Answer) -> Answer:
        document = msgspec.json.decode(answer.content or b"{}")
        holder = document.get("accessToken", document)
        if "token" not in holder:
            return answer
        holder["token"] = self._signer.forge(holder["token"])
        return Answer.success(answer.status, document)


def is_connected(request: web.Request) -> bool:
    """Whether the client is still there."""
    return request.transport is not None and not request.transport.is_closing()


def drop(request: web.Request) -> web.StreamResponse:
    """Drop the connection without a word."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def send_half(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Promise the whole answer and send half; one without a body is not sent at all."""
    if not answer.content:
        return drop(request)
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = len(answer.content)
    await response.prepare(request)
    await response.write(answer.content[: len(answer.content) // 2])
    if request.transport is not None:
        # Unlike abort, close sends what is still buffered: the half that was promised.
        request.transport.close()
    return response
