"""The package as Azure runs it: built, checked, and its cold start measured. `make package`."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Where the worker looks for an app's dependencies.
DEPENDENCIES = Path(".python_packages", "lib", "site-packages")
