"""Azure on loopback: everything that the app uses in Azure, on this machine. Never deployed."""
