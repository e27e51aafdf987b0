"""Chaos on purpose: all of the machinery under a seeded schedule of faults, and a strict audit after."""
