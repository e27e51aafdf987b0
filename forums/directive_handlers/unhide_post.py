"""The directive `forum.post.unhide`."""

from forums.models import Post
from forums.moderation import LiftPost


class UnhidePost(LiftPost):
    """Shows a hidden post to readers again."""

    name = "forum.post.unhide"
    label = "Unhide post"
    inverse = "forum.post.hide"
    signal = "forum.post.unhidden"
    kinds = ("hidden",)
    becomes = Post.Status.PUBLISHED
