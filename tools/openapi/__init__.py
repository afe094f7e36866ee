"""Generates openapi.json from the triggers and the types. Nothing here is deployed."""
