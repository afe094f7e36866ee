"""The emulator of the identity service keeps its contract."""
