"""The directive `forum.post.delete`."""

from forums import moderation
from forums.handlers import PostHandler


class DeletePost(PostHandler):
    """Marks a post as deleted and keeps its text for the record."""

    name = "forum.post.delete"
    label = "Delete post"
    inverse = "forum.post.unhide"
    signal = "forum.post.deleted"
    change = staticmethod(moderation.delete_post)
