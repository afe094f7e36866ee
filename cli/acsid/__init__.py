"""The operator's command line for acs-identity-service. It speaks HTTP to a running app."""

__version__ = "0.1.0"
