"""The HTTP edge: triggers, requests and responses."""
