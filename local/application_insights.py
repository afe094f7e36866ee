"""The ingestion endpoint of an Application Insights resource whose local authentication is off.

It takes what Microsoft's exporter sends, from whoever has an Entra token, and keeps it.
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
# Always the same: for each the exporter leaves a folder among the temporary files.
_RESOURCE = "11111111-2222-3333-4444-555555555555"
# Bytes of one delivery.
_LIMIT = 16 * 2**20
_SPANS = ("RequestData", "RemoteDependencyData")


@dataclass(frozen=True)
class Span:
    """A request, or a call made for it.

    Attributes:
        parent: The id of the span it is a part of; of the first in a trace, nobody's.
        name: Of a request, the function; of a call, the client's method, or the HTTP request.
        began: When, in UTC, as ISO 8601 has it.
        milliseconds: How long it took.
    """

    id: str
    parent: str
    name: str
    began: str
    milliseconds: float


class ApplicationInsights:
    """What has arrived.

    Attributes:
        refused: How many deliveries came without a valid token.
    """

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._items: list[dict[str, Any]] = []
        self._more = asyncio.Event()
        self.refused = 0

    async def wait_for(self, condition: "Callable[[ApplicationInsights], bool]") -> None:
        """Wait until enough has arrived."""
        while not condition(self):
            self._more.clear()
            await self._more.wait()

    def application(self) -> web.Application:
        """The endpoint as an aiohttp application."""
        application = web.Application(client_max_size=_LIMIT)
        application.router.add_post("/{path:/?v2(?:\\.1)?/track}", self._track)
        return application

    @staticmethod
    def settings(url: str, bundle: str) -> dict[str, str]:
        """What makes the app send to `url`, keyless, everything, and at once.

        The exporter's HTTP client looks for certificates in a variable of its own.
        """
        return {
            "APPLICATIONINSIGHTS_CONNECTION_STRING": f"InstrumentationKey={_RESOURCE};"
            f"IngestionEndpoint={url};LiveEndpoint={url}",
            "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": "Authorization=AAD",
            "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
            "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY": "true",
            "AzureFunctionsJobHost__telemetryMode": "OpenTelemetry",
            "OTEL_TRACES_SAMPLER": "always_on",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "OTEL_BLRP_SCHEDULE_DELAY": "200",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
            "REQUESTS_CA_BUNDLE": bundle,
        }

    @property
    def text(self) -> str:
        """Everything that has arrived, to look for what should not have."""
        return msgspec.json.encode(self._items).decode()

    def traces(self) -> dict[str, list[Span]]:
        """The spans that have arrived, by trace."""
        traces: dict[str, list[Span]] = {}
        for item, kind, data in self._data():
            if kind in _SPANS:
                tags = item["tags"]
                span = Span(
                    id=data["id"],
                    parent=tags.get("ai.operation.parentId", ""),
                    name=data["name"],
                    began=item["time"],
                    milliseconds=_milliseconds(data["duration"]),
                )
                traces.setdefault(tags["ai.operation.id"], []).append(span)
        return traces

    def metrics(self) -> dict[str, float]:
        """The last value of each series of the app's own metrics."""
        series = {}
        for _, kind, data in self._data():
            if kind == "MetricData":
                metric, properties = data["metrics"][0], data["properties"]
                told = ", ".join(f"{name}={properties[name]}" for name in sorted(properties))
                series[f"{metric['name']}{{{told}}}"] = metric["value"]
        # Those of the exporter itself begin with a backslash or an underscore.
        return {name: value for name, value in sorted(series.items()) if name[0] not in "\\_"}

    def messages(self) -> list[str]:
        """The lines that were logged."""
        return [data["message"] for _, kind, data in self._data() if kind == "MessageData"]

    def _data(self) -> Iterator[tuple[dict[str, Any], str, dict[str, Any]]]:
        for item in self._items:
            yield item, item["data"]["baseType"], item["data"]["baseData"]

    async def _track(self, request: web.Request) -> web.Response:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            self._issuer.verify(token if scheme == "Bearer" else "", AUDIENCE)
        except jwt.InvalidTokenError:
            self.refused += 1
            return web.json_response({"errors": [{"message": "local auth is off"}]}, status=401)
        items = msgspec.json.decode(await request.read())
        self._items += items
        self._more.set()
        received = {"itemsReceived": len(items), "itemsAccepted": len(items), "errors": []}
        return web.json_response(received)


def _milliseconds(duration: str) -> float:
    """Of `d.hh:mm:ss.fff`."""
    days, _, clock = duration.partition(".")
    hours, minutes, seconds = clock.split(":")
    whole = (int(days) * 24 + int(hours)) * 60 + int(minutes)
    return whole * 60_000 + float(seconds) * 1000
