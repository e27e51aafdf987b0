"""The directive `forum.post.unhide`."""

from forums import moderation
from forums.handlers import PostHandler


class UnhidePost(PostHandler):
    """Shows a hidden or deleted post to readers again."""

    name = "forum.post.unhide"
    label = "Unhide post"
    inverse = "forum.post.hide"
    signal = "forum.post.unhidden"
    change = staticmethod(moderation.unhide_post)
