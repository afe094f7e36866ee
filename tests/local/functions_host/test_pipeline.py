"""Facts about layers."""

from dataclasses import replace

from local.functions_host.pipeline import Answer, Handler, Request, fold, through

REQUEST = Request("GET", "/", "", {}, {})


async def _echo(request: Request) -> Answer:
    return Answer(200, body=request.path.encode())


async def test_layers_change_requests_from_the_outermost_in() -> None:
    """Each hands on what it made of the request."""

    async def first(request: Request, rest: Handler) -> Answer:
        return await rest(replace(request, path=request.path + "1"))

    async def second(request: Request, rest: Handler) -> Answer:
        return await rest(replace(request, path=request.path + "2"))

    answer = await through([first, second], _echo)(REQUEST)

    assert answer.body == b"/12"


async def test_a_layer_may_answer_by_itself() -> None:
    """What lies behind it is then not asked."""

    async def closed(_request: Request, _rest: Handler) -> Answer:
        return Answer(401)

    answer = await through([closed], _echo)(REQUEST)

    assert answer == Answer(401)


def test_folding_keeps_an_empty_header_and_skips_empty_parts() -> None:
    """A header may be there and empty; joined, empty values add no comma."""
    folded = fold([("a", ""), ("b", ""), ("B", "1"), ("b", ""), ("b", "2")])

    assert folded == {"a": "", "b": "1,2"}
