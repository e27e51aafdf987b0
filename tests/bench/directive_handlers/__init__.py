"""The benchmark's handlers."""
