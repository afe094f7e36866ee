"""Installs what `make` needs. Everything except `programs` runs before any package is installed."""

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
