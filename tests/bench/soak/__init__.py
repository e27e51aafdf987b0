"""A long mixed load over many tenants, and its drift: `make soak`."""
