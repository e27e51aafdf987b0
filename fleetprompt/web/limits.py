"""Limits of the admin; without imports, so that every module can use it."""

COUNTED = 10_000
"""The most rows that are counted exactly; counting more takes too long for a page."""
