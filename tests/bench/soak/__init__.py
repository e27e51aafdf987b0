"""A mixed load over many tenants that lasts, and whether anything drifts under it: `make soak`."""
