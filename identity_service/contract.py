"""What goes over the wire beside the operations' own requests and answers."""

from typing import Annotated, Generic, Literal, TypeVar

from msgspec import Meta, Struct

T = TypeVar("T")

# Where problems can be looked up, unless the settings say where else.
PROBLEMS = "/docs/problems.md"

UriReference = Annotated[str, Meta(extra_json_schema={"format": "uri-reference"})]


class Problem(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """What is wrong, as RFC 9457 has it.

    Attributes:
        type: Where one can look it up: its cause, its remedy, whether and when to ask again.
        title: What is wrong, the same words for the same code.
        status: The status of the answer.
        code: What is wrong, for programs.
        detail: What is particular to this call.
        field: The member of the body, or the part of the address, that is at fault.
        allowed: What would be accepted there.
        upstream_request_id: The id under which Microsoft's support finds the call.
    """

    type: UriReference
    title: str
    status: int
    code: str
    detail: str
    field: str | None = None
    allowed: str | None = None
    upstream_request_id: str | None = None


class Page(Struct, Generic[T], kw_only=True, rename="camel", omit_defaults=True):
    """A page of a list. It may be short or empty.

    Attributes:
        next_link: Where the next page is; absent on the last one.
    """

    value: list[T]
    next_link: UriReference | None = None


class Health(Struct):
    """Whether the app is configured; whoever asks, which is anybody, learns no more."""

    status: Literal["ok", "not_configured"]
