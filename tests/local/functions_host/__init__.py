"""Facts about the Functions host stand-in."""
