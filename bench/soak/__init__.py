"""The soak: steady mixed load on the app while faults come and go."""
