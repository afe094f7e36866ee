"""Facts about the local Azure. It must behave as Azure does."""
