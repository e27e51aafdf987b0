"""Executing: one claimed directive or a group, its time limits, retries and failures."""
