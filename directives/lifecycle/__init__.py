"""The states of a directive: each transition, each query by state, each lifecycle event."""
