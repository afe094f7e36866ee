"""Survival: workers are killed, upstreams fail, the registry grows, and nothing is forgotten."""
