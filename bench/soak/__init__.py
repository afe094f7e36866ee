"""The app under steady mixed load for as long as one likes, with faults coming and going."""
