"""Microsoft's SDKs, as their users have them, against the emulator."""
