"""Audit log: seals over signals, verification, proofs, exports and pruning."""
