"""Command line: what the management commands share."""
