"""Sealing: keys, signed heads, the sealer, and the checkpoints that it leaves outside the database."""
