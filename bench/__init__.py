"""Speed and cost, side by side with the bare SDKs. Never deployed. See README.md."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
