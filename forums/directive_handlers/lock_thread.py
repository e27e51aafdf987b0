"""The directive `forum.thread.lock`."""

from forums.models import Thread
from forums.moderation import ThreadHandler


class LockThread(ThreadHandler):
    """Locks a thread, so that nobody can add posts."""

    name = "forum.thread.lock"
    label = "Lock thread"
    inverse = "forum.thread.unlock"
    signal = "forum.thread.locked"
    becomes = Thread.Status.LOCKED
