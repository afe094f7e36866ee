"""The app and the local Azure as processes, over HTTP."""
