"""The directive `forum.thread.hide`."""

from forums.moderation import RestrictThread


class HideThread(RestrictThread):
    """Hides a thread from readers, with its title and its posts."""

    name = "forum.thread.hide"
    label = "Hide thread"
    inverse = "forum.thread.unhide"
    signal = "forum.thread.hidden"
    kinds = ("hidden",)
