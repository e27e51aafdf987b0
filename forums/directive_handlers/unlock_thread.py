"""The directive `forum.thread.unlock`."""

from forums.models import Thread
from forums.moderation import LiftThread


class UnlockThread(LiftThread):
    """Opens a locked thread, so that people can add posts."""

    name = "forum.thread.unlock"
    label = "Unlock thread"
    inverse = "forum.thread.lock"
    signal = "forum.thread.unlocked"
    kinds = ("locked",)
    becomes = Thread.Status.OPEN
