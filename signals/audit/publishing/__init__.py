"""Publishing: exports and proofs that others check without the database."""
