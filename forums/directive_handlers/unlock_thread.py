"""The directive `forum.thread.unlock`."""

from forums.handlers import ThreadHandler
from forums.models import Thread


class UnlockThread(ThreadHandler):
    """Opens a thread, so that people can add posts."""

    name = "forum.thread.unlock"
    label = "Unlock thread"
    inverse = "forum.thread.lock"
    signal = "forum.thread.unlocked"
    becomes = Thread.Status.OPEN
