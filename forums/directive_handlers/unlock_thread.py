"""The directive `forum.thread.unlock`."""

from forums import moderation
from forums.handlers import ThreadHandler


class UnlockThread(ThreadHandler):
    """Opens a thread, so that people can add posts."""

    name = "forum.thread.unlock"
    label = "Unlock thread"
    inverse = "forum.thread.lock"
    signal = "forum.thread.unlocked"
    change = staticmethod(moderation.unlock_thread)
