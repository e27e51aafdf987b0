"""The directive `forum.post.hide`."""

from forums import moderation
from forums.handlers import PostHandler


class HidePost(PostHandler):
    """Hides a post from readers."""

    name = "forum.post.hide"
    label = "Hide post"
    inverse = "forum.post.unhide"
    signal = "forum.post.hidden"
    change = staticmethod(moderation.hide_post)
