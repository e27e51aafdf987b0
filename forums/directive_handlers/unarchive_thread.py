"""The directive `forum.thread.unarchive`."""

from forums.moderation import LiftThread


class UnarchiveThread(LiftThread):
    """Takes a thread out of the archive."""

    name = "forum.thread.unarchive"
    label = "Unarchive thread"
    inverse = "forum.thread.archive"
    signal = "forum.thread.unarchived"
    kinds = ("archived",)
