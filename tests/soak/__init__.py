"""The soak: its plan, what it considers right, how it explains identities, and a short run."""
