"""Tests that the running app keeps what openapi.json promises."""
