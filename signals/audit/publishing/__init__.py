"""Publishing: checkpoints, exports and proofs that leave the database."""
