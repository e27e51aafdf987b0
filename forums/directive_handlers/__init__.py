"""One file per directive; every handler here is found without being listed anywhere."""
