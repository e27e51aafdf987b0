"""The directive `forum.post.hide`."""

from forums.models import Post
from forums.moderation import RestrictPost


class HidePost(RestrictPost):
    """Hides a post from readers."""

    name = "forum.post.hide"
    label = "Hide post"
    inverse = "forum.post.unhide"
    signal = "forum.post.hidden"
    kinds = ("hidden",)
    becomes = Post.Status.HIDDEN
    barred_by = ("deleted",)
