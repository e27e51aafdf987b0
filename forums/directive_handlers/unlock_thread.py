"""The directive `forum.thread.unlock`."""

from forums.models import Thread
from forums.moderation import ThreadHandler


class UnlockThread(ThreadHandler):
    """Opens a thread, so that people can add posts."""

    name = "forum.thread.unlock"
    label = "Unlock thread"
    inverse = "forum.thread.lock"
    signal = "forum.thread.unlocked"
    becomes = Thread.Status.OPEN
