"""`python -m local.openapi`: writes openapi.json anew from the app. `make openapi` does."""

import inspect
import json
import runpy
import tomllib
from collections.abc import Iterator

from azure.functions.decorators.function_app import Function

from identity_service.openapi import Route, document
from identity_service.openapi.schemas import Json
from identity_service.web import DOCUMENT
from local.azure import ROOT


def current() -> str:
    """The document of the app as it is, in the text that is committed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return text(document(routes(), project["version"]))


def text(content: Json) -> str:
    """The document as it stands in the file."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def routes() -> Iterator[Route]:
    """The app's HTTP functions, in its own order."""
    for function in _functions():
        trigger = json.loads(function.get_raw_bindings()[0])
        if trigger["type"] == "httpTrigger":
            [method] = trigger["methods"]
            yield Route(
                name=str(function.get_function_name()),
                method=method,
                path=trigger["route"],
                with_key=trigger["authLevel"] == "FUNCTION",
                summary=inspect.getdoc(function.get_user_function()) or "",
            )


def _functions() -> list[Function]:
    """From a module of its own: an app tells its functions only once."""
    functions: list[Function] = runpy.run_path(str(ROOT / "function_app.py"))["app"].get_functions()
    return functions


if __name__ == "__main__":
    DOCUMENT.write_text(current())
