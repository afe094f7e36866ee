"""Identities and access tokens for Azure Communication Services: what the app does."""
