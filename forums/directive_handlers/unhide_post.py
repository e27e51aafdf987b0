"""The directive `forum.post.unhide`."""

from forums.models import Post
from forums.moderation import PostHandler


class UnhidePost(PostHandler):
    """Shows a hidden or deleted post to readers again."""

    name = "forum.post.unhide"
    label = "Unhide post"
    inverse = "forum.post.hide"
    signal = "forum.post.unhidden"
    becomes = Post.Status.PUBLISHED
