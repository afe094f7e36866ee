"""Azure on loopback: what the app meets in Azure, on this machine. Never deployed."""
