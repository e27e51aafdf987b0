"""How far the admin counts. No admin module is imported here, so that everything can use it."""

COUNTED = 10_000
"""How far rows are counted exactly; what is more costs too much to count for a page."""
