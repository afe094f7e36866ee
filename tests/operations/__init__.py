"""Every operation, on services in memory and in a time that passes only while all wait."""
