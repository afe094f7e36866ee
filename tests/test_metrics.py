"""Metrics are made from events."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from identity_service.log import EventLog
from identity_service.metrics import EventMetrics

OPERATION = {"operation": "issue_token", "status": 200, "code": "ok"}
COST = {"duration_ms": 40, "acs_ms": 30, "throttles": 0}
SWEEP = {"purged": 8, "stuck": 1, "held": 40, "backlog": 3, "oldest_overdue_s": 75, "throttles": 2}
FAILED_SWEEP: dict[str, Any] = {**SWEEP, "stuck": 0, "backlog": None, "oldest_overdue_s": None}
Points = dict[str, list[tuple[dict[str, object], float]]]

logger = logging.getLogger("metrics of a test")
events = EventLog(logger.name)


@pytest.fixture
def reader() -> Iterator[InMemoryMetricReader]:
    """Reads the metrics that the events of this module make."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    handler = EventMetrics(provider.get_meter("test"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield reader
    logger.removeHandler(handler)
    provider.shutdown()


def points(reader: InMemoryMetricReader) -> Points:
    """For each metric: the attributes and the value of each series; for a histogram, the sum."""
    data = reader.get_metrics_data()
    if data is None:
        return {}
    return {
        metric.name: [
            (dict(point.attributes or {}), getattr(point, "value", getattr(point, "sum", 0)))
            for point in metric.data.data_points
        ]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_operations_by_result(reader: InMemoryMetricReader) -> None:
    """Operations are counted by name, status and code."""
    failed = {**OPERATION, "status": 503, "code": "acs_unavailable"}
    for result in (OPERATION, failed, OPERATION):
        events.info("operation_finished", **result, **COST)

    assert points(reader)["operations"] == [(OPERATION, 2), (failed, 1)]


def test_latency(reader: InMemoryMetricReader) -> None:
    """The durations of operations, and of the calls to ACS in them, are recorded."""
    events.info("operation_finished", **OPERATION, **COST)
    found = points(reader)

    assert found["operation.duration"] == [(OPERATION, 40)]
    assert found["acs.duration"] == [(OPERATION, 30)]


def test_throttles(reader: InMemoryMetricReader) -> None:
    """The 429 of ACS are counted by operation, the sweep included."""
    events.info("operation_finished", **OPERATION, **{**COST, "throttles": 1})
    events.info("sweep_finished", **SWEEP)

    assert points(reader)["acs.throttles"] == [
        ({"operation": "issue_token"}, 1),
        ({"operation": "purge_deleted_identities"}, 2),
    ]


def test_sweep(reader: InMemoryMetricReader) -> None:
    """Gauges show the last sweep. The counter of purged identities adds up all sweeps."""
    events.info("sweep_finished", **{**SWEEP, "backlog": 900})
    events.info("sweep_finished", **SWEEP)
    found = points(reader)

    assert found["sweep.backlog"] == [({}, 3)]
    assert found["sweep.oldest_overdue"] == [({}, 75)]
    assert found["sweep.stuck"] == [({}, 1)]
    assert found["sweep.held"] == [({}, 40)]
    assert found["sweep.purged"] == [({}, 16)]


def test_age_of_the_last_sweep(reader: InMemoryMetricReader) -> None:
    """Gauges show how long ago a sweep started and got to its end, if one ever has."""
    events.info("sweep_checked", status="waiting", last_started_s=None, last_completed_s=None)
    before = points(reader)
    events.info("sweep_checked", status="ok", last_started_s=60, last_completed_s=45)
    found = points(reader)

    assert not {"sweep.last_started", "sweep.last_completed"} & set(before)
    assert (found["sweep.last_started"], found["sweep.last_completed"]) == ([({}, 60)], [({}, 45)])


def test_end_of_a_hold(reader: InMemoryMetricReader) -> None:
    """Once purges are no longer on hold, the gauge of held purges is zero."""
    events.info("sweep_finished", **SWEEP)
    events.info("sweep_finished", **{**SWEEP, "held": None})

    assert points(reader)["sweep.held"] == [({}, 0)]


def test_failed_sweep(reader: InMemoryMetricReader) -> None:
    """A failed sweep leaves the gauges as they were, and what it did before is counted."""
    events.info("sweep_finished", **SWEEP)
    events.error("sweep_failed", **FAILED_SWEEP)
    found = points(reader)

    assert found["sweep.backlog"] == [({}, 3)]
    assert found["sweep.oldest_overdue"] == [({}, 75)]
    assert found["sweep.stuck"] == [({}, 1)]
    assert found["sweep.purged"] == [({}, 16)]
    assert found["acs.throttles"] == [({"operation": "purge_deleted_identities"}, 4)]


def test_gauges_without_a_successful_sweep(reader: InMemoryMetricReader) -> None:
    """If every sweep fails, the gauges have no value. They are not zero."""
    events.error("sweep_failed", **FAILED_SWEEP)

    assert {"sweep.backlog", "sweep.oldest_overdue", "sweep.stuck"}.isdisjoint(points(reader))


def test_other_events_are_not_counted(reader: InMemoryMetricReader) -> None:
    """Other events, and lines that are not events, make no metric."""
    events.info("identity_created", identity_id="8:acs:1")
    logger.info("operation_finished")

    assert points(reader) == {}


def test_invalid_event_does_not_fail_the_code_that_logs(
    reader: InMemoryMetricReader, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error is reported on stderr only."""
    events.info("operation_finished", **OPERATION)

    assert "KeyError: 'duration_ms'" in capsys.readouterr().err
    assert points(reader).get("operation.duration") is None
