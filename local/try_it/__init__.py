"""The page to try the API on, at /docs/ beside the app: what it is made of."""

from pathlib import Path

from local.azure import ROOT

_HERE = Path(__file__).parent
_SWAGGER_UI = ROOT / "local" / "node_modules" / "swagger-ui-dist"


def files() -> dict[str, str]:
    """The file to serve for each path."""
    found = {
        "": _HERE / "index.html",
        "page.js": _HERE / "page.js",
        "swagger-ui.css": _SWAGGER_UI / "swagger-ui.css",
        "swagger-ui-bundle.js": _SWAGGER_UI / "swagger-ui-bundle.js",
        "favicon-32x32.png": _SWAGGER_UI / "favicon-32x32.png",
        "openapi.json": ROOT / "openapi.json",
        # Where the `type` of every problem leads unless the settings say otherwise.
        "problems.md": ROOT / "docs" / "problems.md",
    }
    return {f"/docs/{name}": str(path) for name, path in found.items()}
