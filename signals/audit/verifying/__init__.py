"""Verifying: recomputation of everything that seals promise."""
