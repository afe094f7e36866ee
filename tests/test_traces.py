"""Traces: what a library records about a failure has no secret."""

import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode, Tracer

from identity_service.traces import ScrubbedSpans

SECRET = "pass-w0rd"
WITH_SECRET = f"407, url='http://user:{SECRET}@proxy:3128'"
SCRUBBED = "407, url='http://***@proxy:3128'"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """What was exported."""
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> Tracer:
    """A tracer in a worker whose exporter was set up before the app was loaded."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.add_span_processor(ScrubbedSpans())
    return provider.get_tracer(__name__)


WORKER = f"""
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import StatusCode, get_tracer, set_tracer_provider
from identity_service.services import Services
set_tracer_provider(TracerProvider())
for _ in range(2):
    Services({{"PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY": "true"}})
span = get_tracer("library").start_span("call")
span.set_status(StatusCode.ERROR, {WITH_SECRET!r})
print(span.status.description)
"""


def test_worker_with_telemetry_scrubs() -> None:
    """It does so before any part of the app is created. In a process of its own: it is global."""
    done = subprocess.run(  # noqa: S603 -- fixed arguments
        [sys.executable, "-c", WORKER], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == SCRUBBED


def test_exception_is_scrubbed(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    """A span that ends with an exception has its type, and its text without the secret."""
    with pytest.raises(ValueError, match=SECRET), tracer.start_as_current_span("call"):
        raise ValueError(WITH_SECRET) from KeyError(WITH_SECRET)

    [span] = exporter.get_finished_spans()
    [event] = span.events
    assert (span.status.description, span.status.status_code) == (
        f"ValueError: {SCRUBBED}",
        StatusCode.ERROR,
    )
    assert dict(event.attributes or {})["exception.message"] == SCRUBBED
    assert SECRET not in span.to_json()


@pytest.mark.parametrize("status", [Status(StatusCode.ERROR, WITH_SECRET), StatusCode.ERROR])
def test_status_is_scrubbed(
    tracer: Tracer, exporter: InMemorySpanExporter, status: Status | StatusCode
) -> None:
    """The description of a status is scrubbed in both forms of the call."""
    with tracer.start_as_current_span("call") as span:
        span.set_status(status, None if isinstance(status, Status) else WITH_SECRET)

    [exported] = exporter.get_finished_spans()
    assert exported.status.description == SCRUBBED


def test_attributes_are_scrubbed(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    """Texts are scrubbed however they are set. Other values, and other texts, stay."""
    with tracer.start_as_current_span("call", attributes={"at start": WITH_SECRET}) as span:
        span.set_attribute("one", WITH_SECRET)
        span.set_attributes({"several": WITH_SECRET, "status": 407, "method": "GET"})

    [exported] = exporter.get_finished_spans()
    assert dict(exported.attributes or {}) == {
        "at start": SCRUBBED,
        "one": SCRUBBED,
        "several": SCRUBBED,
        "status": 407,
        "method": "GET",
    }
