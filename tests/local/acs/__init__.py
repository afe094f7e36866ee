"""Tests of the ACS emulator."""
