"""The directive `forum.thread.archive`."""

from forums.models import Thread
from forums.moderation import RestrictThread


class ArchiveThread(RestrictThread):
    """Archives a thread: it can be read, and nobody can add posts."""

    name = "forum.thread.archive"
    label = "Archive thread"
    inverse = "forum.thread.unarchive"
    signal = "forum.thread.archived"
    kinds = ("archived",)
    becomes = Thread.Status.ARCHIVED
