"""Tests that run the commands of docs/operate.md and docs/retirement.md as they are written."""
