"""Recipes of a directive and of a failed message of django-q2."""

from django.apps import apps
from model_bakery.recipe import Recipe, seq

from directives.models import Directive

directive = Recipe(
    Directive,
    name="zoo.animal.work",
    idempotency_key=seq("made:"),
    actor_type="system",
    actor_id="tester",
)
failure = Recipe(
    apps.get_model("django_q", "Failure"), id="f" * 32, func="directives.tasks.work", success=False
)
