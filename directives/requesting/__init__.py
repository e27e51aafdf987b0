"""Requesting: from what was asked to a stored row, and what keeps it from being stored twice."""
