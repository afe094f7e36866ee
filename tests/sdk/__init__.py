"""Tests of the ACS emulator with Microsoft's SDKs, unchanged."""
