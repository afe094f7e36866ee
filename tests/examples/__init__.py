"""The examples for servers and bots, run against the app."""
