"""Command line: shared parts of the management commands."""
