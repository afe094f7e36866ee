"""Run by the package's Python: names the modules in a folder whose bytecode it would not use.

Usage: python -I stale_bytecode.py FOLDER. Prints JSON. Only this very Python can tell, for its own
magic number is in the hash of a source.
"""

import importlib.util
import json
import sys
from pathlib import Path

# "Valid by its hash, which nobody compares": PEP 552.
_UNCHECKED_HASH = (1).to_bytes(4, "little")


def is_stale(module: Path) -> bool:
    """Whether there is no bytecode of this source by this Python."""
    compiled = Path(importlib.util.cache_from_source(str(module)))
    expected = (
        importlib.util.MAGIC_NUMBER
        + _UNCHECKED_HASH
        + importlib.util.source_hash(module.read_bytes())
    )
    return not compiled.exists() or compiled.read_bytes()[: len(expected)] != expected


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    stale = [path for path in sorted(folder.rglob("*.py")) if is_stale(path)]
    json.dump([str(path.relative_to(folder)) for path in stale], sys.stdout)
