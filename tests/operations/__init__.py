"""One test module for each operation, on services in memory and in virtual time."""
