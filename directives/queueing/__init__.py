"""The queue: wake-ups through django-q2, PostgreSQL as its broker, and its clusters."""
