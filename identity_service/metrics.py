"""Metrics made of events, for OpenTelemetry. Imported only where the settings switch that on."""

import logging
from functools import cache
from typing import Any

from opentelemetry.metrics import Meter, get_meter

# The root of the modules that have events.
_EVENTS = "identity_service"


class EventMetrics(logging.Handler):
    """Counts what the events say."""

    def __init__(self, meter: Meter) -> None:
        super().__init__(logging.INFO)
        self._operations = meter.create_counter(
            "operations", description="Operations, by name, status and code"
        )
        self._duration = meter.create_histogram(
            "operation.duration", "ms", "From the request to the answer"
        )
        self._acs_duration = meter.create_histogram(
            "acs.duration", "ms", "What of an operation was spent in calls to ACS"
        )
        self._throttles = meter.create_counter("acs.throttles", description="429 from ACS")
        self._purged = meter.create_counter("sweep.purged", description="Identities purged")
        self._sweep = {
            "backlog": meter.create_gauge("sweep.backlog", description="Due and not finished"),
            "oldest_overdue_s": meter.create_gauge(
                "sweep.oldest_overdue", "s", "For how long the oldest was due"
            ),
            "stuck": meter.create_gauge(
                "sweep.stuck", description="Failed too often, tried again in a day"
            ),
        }

    def emit(self, record: logging.LogRecord) -> None:
        """Count it, if it is an event that is counted. As any handler, it fails nobody who logs."""
        event = vars(record)
        try:
            match event.get("event"):
                case "operation_finished":
                    self._count_operation(event)
                case "sweep_finished":
                    self._count_sweep(event)
        except Exception:  # noqa: BLE001 -- whatever it is, `logging` says it on stderr
            self.handleError(record)

    def _count_operation(self, event: dict[str, Any]) -> None:
        outcome = {name: event[name] for name in ("operation", "status", "code")}
        self._operations.add(1, outcome)
        self._duration.record(event["duration_ms"], outcome)
        self._acs_duration.record(event["acs_ms"], outcome)
        self._throttles.add(event["throttles"], {"operation": event["operation"]})

    def _count_sweep(self, event: dict[str, Any]) -> None:
        self._purged.add(event["purged"])
        self._throttles.add(event["throttles"], {"operation": "purge_deleted_identities"})
        for name, gauge in self._sweep.items():
            gauge.set(event[name])


@cache
def count_events() -> None:
    """Make metrics of this process's events from now on, with whatever provider is configured."""
    logging.getLogger(_EVENTS).addHandler(EventMetrics(get_meter(_EVENTS)))
