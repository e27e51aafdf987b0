"""Audit log of the active tenant: seals over signals, verification, proofs, exports and pruning."""
