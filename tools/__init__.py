"""Generators for files in this repository. Never deployed."""
