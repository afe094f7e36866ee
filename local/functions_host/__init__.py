"""A local Azure Functions host: serves a Python v2 app from the app's own metadata."""
