"""The operations of signed-in users."""
