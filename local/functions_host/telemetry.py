"""OpenTelemetry, as far as the host and the worker do it for the app, by the same settings.

The host makes a span of each invocation and hands its context on; the worker sets up Azure
Monitor's exporter before it loads the app, and attaches that context to the invocation.
Source: https://learn.microsoft.com/azure/azure-functions/opentelemetry-howto, and the worker's
own (azure-functions-runtime 1.3.0, otel.py).
"""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager

from local.functions_host.invocations import TraceContext, untraced

Tracing = Callable[[str, TraceContext], AbstractContextManager[TraceContext]]

_HOST, _WORKER = (
    "AzureFunctionsJobHost__telemetryMode",
    "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY",
)


def configured(settings: MutableMapping[str, str]) -> Tracing:
    """How invocations are traced: not at all, where the settings do not ask for it in both."""
    if settings.get(_HOST) != "OpenTelemetry" or settings.get(_WORKER, "").lower() != "true":
        return untraced
    settings.setdefault("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "azure_functions")
    _export(settings)
    return traced


def _export(settings: Mapping[str, str]) -> None:
    from azure.monitor.opentelemetry import configure_azure_monitor  # noqa: PLC0415 -- only if on

    configure_azure_monitor(
        connection_string=settings["APPLICATIONINSIGHTS_CONNECTION_STRING"],
        logger_name=settings.get("PYTHON_APPLICATIONINSIGHTS_LOGGER_NAME", ""),
        enable_live_metrics=False,  # they would ask twice a second
    )


@contextmanager
def traced(name: str, caller: TraceContext) -> Iterator[TraceContext]:
    """An invocation with a span of its own, in its caller's trace or a new one."""
    from opentelemetry import context, trace  # noqa: PLC0415 -- the same
    from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415 -- the same

    propagator = tracecontext.TraceContextTextMapPropagator()
    received = {"traceparent": caller.trace_parent, "tracestate": caller.trace_state}
    span = trace.get_tracer(__name__).start_span(
        name, propagator.extract(received), trace.SpanKind.SERVER
    )
    handed_on: dict[str, str] = {}
    propagator.inject(handed_on, trace.set_span_in_context(span))
    token = context.attach(propagator.extract(handed_on))
    try:
        yield TraceContext(handed_on["traceparent"], handed_on.get("tracestate", ""))
    finally:
        context.detach(token)
        span.end()
