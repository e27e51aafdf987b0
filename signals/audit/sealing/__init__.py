"""Sealing: signed seals over the signals up to a horizon."""
