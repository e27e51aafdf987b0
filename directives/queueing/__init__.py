"""The queue: django-q2 behind an adapter, and the broker, notifier and locks of its processes."""
