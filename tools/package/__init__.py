"""The deployment package: builds it, checks it and measures its cold start (`make package`)."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Where the Functions worker looks for an app's dependencies.
DEPENDENCIES = Path(".python_packages", "lib", "site-packages")
