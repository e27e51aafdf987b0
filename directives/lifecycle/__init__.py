"""The states of a directive: transitions, claims, queries by state, and rows that cannot be handled."""
