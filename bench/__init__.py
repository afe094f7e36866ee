"""Benchmarks: what the app costs compared with what else there is. Never deployed."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
