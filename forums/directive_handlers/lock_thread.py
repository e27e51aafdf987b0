"""The directive `forum.thread.lock`."""

from forums.models import Thread
from forums.moderation import RestrictThread


class LockThread(RestrictThread):
    """Locks a thread, so that nobody can add posts."""

    name = "forum.thread.lock"
    label = "Lock thread"
    inverse = "forum.thread.unlock"
    signal = "forum.thread.locked"
    kinds = ("locked",)
    becomes = Thread.Status.LOCKED
