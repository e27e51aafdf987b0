"""Users and groups of the active schema."""

from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, User
from model_bakery.recipe import Recipe, seq

user = Recipe(User, username=seq("user-"), password="", is_active=True)
staff = user.extend(is_staff=True)
superuser = staff.extend(is_superuser=True)
group = Recipe(Group, name=seq("group-"))


def with_password(recipe: Any, password: str, **fields: Any) -> User:
    """Make a user who can log in with `password`."""
    made: User = recipe.make(password=make_password(password), **fields)
    return made
