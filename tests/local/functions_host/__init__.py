"""Facts about the local Functions host."""
