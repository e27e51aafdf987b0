"""Operators: accounts, clusters, filters of their logs, their pages."""
