"""Processes that are killed, upstreams that fail, registries that grow: nothing is forgotten."""
