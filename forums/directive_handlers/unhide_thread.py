"""The directive `forum.thread.unhide`."""

from forums.moderation import LiftThread


class UnhideThread(LiftThread):
    """Shows a hidden thread to readers again."""

    name = "forum.thread.unhide"
    label = "Unhide thread"
    inverse = "forum.thread.hide"
    signal = "forum.thread.unhidden"
    kinds = ("hidden",)
