"""The part of host.json that decides where functions are served."""

import json
from pathlib import Path
from typing import Any

from local.functions_host.errors import AppError

DEFAULT_ROUTE_PREFIX = "api"


def route_prefix(app_directory: Path) -> str:
    """`extensions.http.routePrefix` without outer slashes; without a host.json the default.

    Raises:
        AppError: host.json is no JSON object or not of version 2.0.
    """
    path = app_directory / "host.json"
    if not path.exists():
        return DEFAULT_ROUTE_PREFIX
    document = _read(path)
    if document.get("version") != "2.0":
        raise AppError('host.json has to hold "version": "2.0"')
    http = document.get("extensions", {}).get("http", {})
    return str(http.get("routePrefix", DEFAULT_ROUTE_PREFIX)).strip("/")


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise AppError(f"host.json cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise AppError("host.json has to be a JSON object")
    return document
