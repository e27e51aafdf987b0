"""The directive `forum.post.restore`."""

from forums.moderation import LiftPost


class RestorePost(LiftPost):
    """Brings a deleted post back."""

    name = "forum.post.restore"
    label = "Restore post"
    inverse = "forum.post.delete"
    signal = "forum.post.restored"
    kinds = ("deleted",)
    for_moderators = False
