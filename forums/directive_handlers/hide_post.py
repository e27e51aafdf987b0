"""The directive `forum.post.hide`."""

from forums.models import Post
from forums.moderation import PostHandler


class HidePost(PostHandler):
    """Hides a post from readers."""

    name = "forum.post.hide"
    label = "Hide post"
    inverse = "forum.post.unhide"
    signal = "forum.post.hidden"
    becomes = Post.Status.HIDDEN
