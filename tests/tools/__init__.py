"""Facts about the generators."""
