"""The facts that hold, one file per module and per operation."""
