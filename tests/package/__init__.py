"""Facts about the package, and about the checks of it."""
