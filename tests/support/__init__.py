"""Test support: one of each."""
