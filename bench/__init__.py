"""Benchmarks: speed and cost of the app compared with the bare SDKs. Never deployed."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
