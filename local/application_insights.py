"""The ingestion endpoint of an Application Insights resource with local authentication disabled.

It stores what Microsoft's exporter sends, and accepts only requests with an Entra token.
Source: https://learn.microsoft.com/azure/azure-monitor/app/azure-ad-authentication
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jwt
import msgspec
from aiohttp import web

from local.entra import Issuer

AUDIENCE = "https://monitor.azure.com"
# Constant, because the exporter creates a temporary folder for each resource.
_RESOURCE = "11111111-2222-3333-4444-555555555555"
# Bytes of one request.
_LIMIT = 16 * 2**20
_SPANS = ("RequestData", "RemoteDependencyData")


@dataclass(frozen=True)
class Span:
    """An invocation, or a call that it made.

    Attributes:
        parent: the id of the parent span; the first span of a trace has none.
        name: the function of an invocation; the client's method or the HTTP request of a call.
        started: the start, in UTC and ISO 8601.
        milliseconds: the duration.
    """

    id: str
    parent: str
    name: str
    started: str
    milliseconds: float


class ApplicationInsights:
    """The endpoint, and the telemetry it has received.

    Attributes:
        rejected: the number of requests without a valid token.
    """

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._items: list[dict[str, Any]] = []
        self._changed = asyncio.Event()
        self.rejected = 0

    async def wait_for(self, condition: "Callable[[ApplicationInsights], bool]") -> None:
        """Wait until the received telemetry satisfies the condition."""
        while not condition(self):
            self._changed.clear()
            await self._changed.wait()

    def application(self) -> web.Application:
        """The endpoint as an aiohttp application."""
        application = web.Application(client_max_size=_LIMIT)
        application.router.add_post("/{path:/?v2(?:\\.1)?/track}", self._track)
        return application

    @staticmethod
    def settings(url: str, bundle: str) -> dict[str, str]:
        """Settings with which the app sends all telemetry to `url`, without a key or a delay.

        The exporter's HTTP client reads its certificates from REQUESTS_CA_BUNDLE.
        """
        return {
            "APPLICATIONINSIGHTS_CONNECTION_STRING": f"InstrumentationKey={_RESOURCE};"
            f"IngestionEndpoint={url};LiveEndpoint={url}",
            "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": "Authorization=AAD",
            "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
            "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY": "true",
            "PYTHON_ENABLE_OPENTELEMETRY": "true",
            "AzureFunctionsJobHost__telemetryMode": "OpenTelemetry",
            "OTEL_TRACES_SAMPLER": "always_on",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "OTEL_BLRP_SCHEDULE_DELAY": "200",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
            "REQUESTS_CA_BUNDLE": bundle,
        }

    @property
    def text(self) -> str:
        """Everything that was received, for a search for secrets."""
        return msgspec.json.encode(self._items).decode()

    def traces(self) -> dict[str, list[Span]]:
        """The received spans, by trace."""
        traces: dict[str, list[Span]] = {}
        for item, kind, data in self._data():
            if kind in _SPANS:
                tags = item["tags"]
                span = Span(
                    id=data["id"],
                    parent=tags.get("ai.operation.parentId", ""),
                    name=data["name"],
                    started=item["time"],
                    milliseconds=_milliseconds(data["duration"]),
                )
                traces.setdefault(tags["ai.operation.id"], []).append(span)
        return traces

    def metrics(self) -> dict[str, float]:
        """The last value of each time series of the app's own metrics."""
        series = {}
        for _, kind, data in self._data():
            if kind == "MetricData":
                metric, properties = data["metrics"][0], data["properties"]
                text = ", ".join(f"{name}={properties[name]}" for name in sorted(properties))
                series[f"{metric['name']}{{{text}}}"] = metric["value"]
        # The exporter's own metrics start with a backslash or an underscore.
        return {name: value for name, value in sorted(series.items()) if name[0] not in "\\_"}

    def messages(self) -> list[str]:
        """The received log lines."""
        return [data["message"] for _, kind, data in self._data() if kind == "MessageData"]

    def _data(self) -> Iterator[tuple[dict[str, Any], str, dict[str, Any]]]:
        for item in self._items:
            yield item, item["data"]["baseType"], item["data"]["baseData"]

    async def _track(self, request: web.Request) -> web.Response:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            self._issuer.verify(token if scheme == "Bearer" else "", AUDIENCE)
        except jwt.InvalidTokenError:
            self.rejected += 1
            return web.json_response(
                {"errors": [{"message": "local authentication is disabled"}]}, status=401
            )
        items = msgspec.json.decode(await request.read())
        self._items += items
        self._changed.set()
        counts = {"itemsReceived": len(items), "itemsAccepted": len(items), "errors": []}
        return web.json_response(counts)


def _milliseconds(duration: str) -> float:
    """Convert `d.hh:mm:ss.fff`."""
    days, _, clock = duration.partition(".")
    hours, minutes, seconds = clock.split(":")
    whole = (int(days) * 24 + int(hours)) * 60 + int(minutes)
    return whole * 60_000 + float(seconds) * 1000
