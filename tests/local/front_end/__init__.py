"""Facts about the local front end."""
