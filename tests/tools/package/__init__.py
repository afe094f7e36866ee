"""The deployment package and its checks."""
