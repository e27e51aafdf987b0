"""Hiding a post with the handler's plain `execute`, whatever `forum.post.hide` has beside it."""

from directives.handlers import Handler
from forums.directive_handlers.hide_post import HidePost


class HideSingly(HidePost):
    """Hides a post, one at a time."""

    name = "bench.post.hide"
    label = "Hide post singly"
    inverse = None
    for_moderators = False
    signal = "bench.post.hidden"
    # Where handlers can execute many at once, this one does what one does that does not say how.
    execute_many = getattr(Handler, "execute_many", None)
