"""The adapters: Azure Communication Services, Azure Tables, and the app's own credential."""
