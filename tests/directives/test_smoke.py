"""The shortest path through the project: request, run, audit."""

from directives.outcomes import Kind
from tests.support import ask, run, signal_names


def test_a_post_is_hidden_and_each_step_leaves_a_signal(forum):
    directive = ask("forum.post.hide", {"post_id": str(forum.posts[0].pk)}).directive
    assert run(directive).kind == Kind.SUCCEEDED
    forum.posts[0].refresh_from_db()
    assert forum.posts[0].status == "hidden"
    assert signal_names(directive) == [
        "directive.requested",
        "directive.started",
        "forum.post.hidden",
        "directive.succeeded",
    ]
