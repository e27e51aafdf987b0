"""Categories, threads and posts, without the signals of those that people create."""

from model_bakery.recipe import Recipe, foreign_key, seq

from forums.models import Category, Post, Thread

category = Recipe(Category, slug=seq("category-"), name=seq("Category "))
thread = Recipe(Thread, category=foreign_key(category), title=seq("Thread "))
post = Recipe(Post, thread=foreign_key(thread), content=seq("Post "), author_id="ann")
