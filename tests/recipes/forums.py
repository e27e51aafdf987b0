"""Categories, threads and posts, without the signals of those that people create."""

from model_bakery.recipe import Recipe, foreign_key, seq

from forums.models import Category, Post, Thread

category = Recipe(Category, slug=seq("category-"), name=seq("Category "))
thread = Recipe(Thread, category=foreign_key(category), title=seq("Thread "))
# A post finds its author's member by itself.
post = Recipe(Post, thread=foreign_key(thread), content=seq("Post "), author_id="ann", member=None)

WITH_MEMBER = """
WITH member AS (
    INSERT INTO forums_member (id, author_type, author_id, label)
    VALUES (gen_random_uuid(), 'human', '{}', '')
    ON CONFLICT (author_type, author_id) DO UPDATE SET label = forums_member.label RETURNING id AS member_id
)
"""
"""SQL before an INSERT of posts that takes `member_id` from `member`; format it with the author's id."""
