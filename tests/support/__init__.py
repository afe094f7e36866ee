"""Support for the tests: fakes in memory, and the local Azure in processes."""
