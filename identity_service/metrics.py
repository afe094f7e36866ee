"""OpenTelemetry metrics, made from the logged events. Imported only if the settings enable them."""

import logging
from functools import cache
from typing import Any

from opentelemetry.metrics import Meter, get_meter

# The root of the loggers that log events.
_EVENTS = "identity_service"


class EventMetrics(logging.Handler):
    """Turns events into metrics."""

    def __init__(self, meter: Meter) -> None:
        super().__init__(logging.INFO)
        self._operations = meter.create_counter(
            "operations", description="Operations, by name, status and code"
        )
        self._duration = meter.create_histogram(
            "operation.duration", "ms", "From the request to the response"
        )
        self._acs_duration = meter.create_histogram(
            "acs.duration", "ms", "The part of an operation that was spent in calls to ACS"
        )
        self._throttles = meter.create_counter("acs.throttles", description="429 from ACS")
        self._purged = meter.create_counter("sweep.purged", description="Identities purged")
        self._sweep = {
            "backlog": meter.create_gauge("sweep.backlog", description="Due and not finished"),
            "oldest_overdue_s": meter.create_gauge(
                "sweep.oldest_overdue", "s", "How long the oldest entry was due"
            ),
            "stuck": meter.create_gauge(
                "sweep.stuck", description="Failed too often, retried once a day"
            ),
            # 0 without a hold, so that the gauge does not keep the figure of a hold that has ended.
            "held": meter.create_gauge(
                "sweep.held", description="Purges on hold, 10000 for 10000 or more"
            ),
        }
        self._runs = {
            "last_started_s": meter.create_gauge(
                "sweep.last_started", "s", "How long ago a sweep started, as `ready` found"
            ),
            "last_completed_s": meter.create_gauge(
                "sweep.last_completed", "s", "How long ago a sweep got to its end, as `ready` found"
            ),
        }

    def emit(self, record: logging.LogRecord) -> None:
        """Record the event. A failure here never reaches the code that logs."""
        event = vars(record)
        try:
            match event.get("event"):
                case "operation_finished":
                    self._record_operation(event)
                case "sweep_finished":
                    self._count_sweep(event)
                    for name, gauge in self._sweep.items():
                        gauge.set(event[name] or 0)
                case "sweep_checked":
                    for name, gauge in self._runs.items():
                        if event[name] is not None:
                            gauge.set(event[name])
                case "sweep_failed":  # it is unknown what is due
                    self._count_sweep(event)
        except Exception:  # noqa: BLE001 -- `logging` reports it on stderr
            self.handleError(record)

    def _record_operation(self, event: dict[str, Any]) -> None:
        result = {name: event[name] for name in ("operation", "status", "code")}
        self._operations.add(1, result)
        self._duration.record(event["duration_ms"], result)
        self._acs_duration.record(event["acs_ms"], result)
        self._throttles.add(event["throttles"], {"operation": event["operation"]})

    def _count_sweep(self, event: dict[str, Any]) -> None:
        self._purged.add(event["purged"])
        self._throttles.add(event["throttles"], {"operation": "purge_deleted_identities"})


@cache
def record_events() -> None:
    """Record this process's events from now on, with the meter provider that is configured."""
    logging.getLogger(_EVENTS).addHandler(EventMetrics(get_meter(_EVENTS)))
