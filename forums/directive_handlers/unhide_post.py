"""The directive `forum.post.unhide`."""

from forums.handlers import PostHandler
from forums.models import Post


class UnhidePost(PostHandler):
    """Shows a hidden or deleted post to readers again."""

    name = "forum.post.unhide"
    label = "Unhide post"
    inverse = "forum.post.hide"
    signal = "forum.post.unhidden"
    becomes = Post.Status.PUBLISHED
