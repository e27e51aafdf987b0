"""The directive `forum.post.hide`."""

from forums.handlers import PostHandler
from forums.models import Post


class HidePost(PostHandler):
    """Hides a post from readers."""

    name = "forum.post.hide"
    label = "Hide post"
    inverse = "forum.post.unhide"
    signal = "forum.post.hidden"
    becomes = Post.Status.HIDDEN
