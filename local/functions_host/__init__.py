"""A stand-in for the Azure Functions host: serves a Python v2 app by the app's own metadata."""
