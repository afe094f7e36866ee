"""Keeps secrets out of OpenTelemetry's traces. Imported only if the settings enable them."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.trace import Status, StatusCode, get_tracer_provider

from identity_service.scrubbing import scrub


class ScrubbedSpans(SpanProcessor):
    """Scrubs what libraries record in spans: attributes, events such as exceptions, and statuses.

    Exporters get a span as it was recorded, so each span scrubs what it records.
    """

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 -- part of the interface
        """Let the span scrub. Its class stays as it is: other tracers may use it."""
        set_attributes, add_event, set_status = span.set_attributes, span.add_event, span.set_status

        def scrubbed_attributes(attributes: Mapping[str, Any]) -> None:
            set_attributes(_scrubbed(attributes))

        def scrubbed_attribute(name: str, value: Any) -> None:
            scrubbed_attributes({name: value})

        def scrubbed_event(
            name: str, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None
        ) -> None:
            add_event(name, _scrubbed(attributes or {}), timestamp)

        def scrubbed_status(status: Status | StatusCode, description: str | None = None) -> None:
            if not isinstance(status, Status):
                status = Status(status, description)
            text = status.description
            set_status(Status(status.status_code, scrub(text) if text else None))

        vars(span).update(
            set_attribute=scrubbed_attribute,
            set_attributes=scrubbed_attributes,
            add_event=scrubbed_event,
            set_status=scrubbed_status,
        )
        scrubbed_attributes(dict(span.attributes or {}))


@cache
def scrub_spans() -> None:
    """Scrub what this process's spans record from now on, if its worker has set up traces."""
    provider = get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.add_span_processor(ScrubbedSpans())


def _scrubbed(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: scrub(value) if isinstance(value, str) else value
        for name, value in attributes.items()
    }
