"""The adapters to Azure."""
