"""Generators and build tools. Never deployed."""
