"""Tests that run the commands of docs/operate.md as they are written."""
