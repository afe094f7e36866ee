"""local.settings.json, which `func start` reads: written, and taken away again."""

import contextlib
import json
from collections.abc import Iterator, Mapping

from local.workplace import Workplace, write_secret


@contextlib.contextmanager
def settings_file(workplace: Workplace, values: Mapping[str, str], port: int) -> Iterator[str]:
    """Write the file unless a person did; yields what to tell them."""
    path = workplace.project / "local.settings.json"
    trace = workplace.folder / "written-settings.json"
    if path.exists() and not (trace.exists() and trace.read_text() == path.read_text()):
        yield f"{path} is yours and was left alone: it may point elsewhere."
        return
    document = {"IsEncrypted": False, "Values": values, "Host": {"LocalHttpPort": port}}
    text = json.dumps(document, indent=2) + "\n"
    write_secret(trace, text)
    write_secret(path, text)
    try:
        yield f"settings for `func start` in {path}"
    finally:
        if path.exists() and path.read_text() == text:
            path.unlink()
        trace.unlink(missing_ok=True)
