"""The directive `forum.post.delete`."""

from forums.models import Post
from forums.moderation import PostHandler


class DeletePost(PostHandler):
    """Marks a post as deleted and keeps its text for the record."""

    name = "forum.post.delete"
    label = "Delete post"
    inverse = "forum.post.unhide"
    signal = "forum.post.deleted"
    becomes = Post.Status.DELETED
    for_moderators = False
