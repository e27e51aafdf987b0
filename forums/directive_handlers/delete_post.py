"""The directive `forum.post.delete`."""

from forums.models import Post
from forums.moderation import RestrictPost


class DeletePost(RestrictPost):
    """Marks a post as deleted and keeps its text for the record."""

    name = "forum.post.delete"
    label = "Delete post"
    inverse = "forum.post.restore"
    signal = "forum.post.deleted"
    kinds = ("deleted",)
    becomes = Post.Status.DELETED
    for_moderators = False
