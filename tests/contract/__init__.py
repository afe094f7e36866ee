"""The contract: what is promised in openapi.json and docs/, held to the running app."""
