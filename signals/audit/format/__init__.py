"""Format: the canonical bytes of signals, and the Merkle trees over them."""
