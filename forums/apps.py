"""The forums app: categories, threads, posts, and what can be done to them."""

from django.apps import AppConfig


class ForumsConfig(AppConfig):
    """Django's view of the app; it lives in every tenant's schema."""

    name = "forums"
