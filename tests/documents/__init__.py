"""The commands in the documents work as they are printed."""
