"""Hostile input at every entry point: a clear error or a stored value, and nothing breaks."""
