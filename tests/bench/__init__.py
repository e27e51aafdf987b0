"""Measures the project on a PostgreSQL of its own: `make bench` and, for hours, `make soak`.

It is an installed app too, for its handlers; only `tests.bench.settings` installs it.
"""
