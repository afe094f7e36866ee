"""Tests of the app and the local Azure as separate processes, over HTTP."""
