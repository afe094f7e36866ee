"""The local Azure keeps the contracts of the real one."""
