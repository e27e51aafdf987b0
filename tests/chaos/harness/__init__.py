"""Chaos harness: a seeded schedule of faults on all processes, and a strict audit after it."""
