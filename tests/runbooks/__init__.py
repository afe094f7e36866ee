"""The runbooks of docs/operate.md, followed as they are written."""
