"""Format: the canonical bytes and the Merkle trees that seals are made of."""
