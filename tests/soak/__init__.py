"""The soak itself: what it takes for right, and that it notices what is wrong."""
