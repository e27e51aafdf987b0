"""The directive `forum.thread.lock`."""

from forums import moderation
from forums.handlers import ThreadHandler


class LockThread(ThreadHandler):
    """Locks a thread, so that nobody can add posts."""

    name = "forum.thread.lock"
    label = "Lock thread"
    inverse = "forum.thread.unlock"
    signal = "forum.thread.locked"
    change = staticmethod(moderation.lock_thread)
