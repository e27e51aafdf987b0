"""Verifying: recomputation of everything that seals promise, and its outcome."""
