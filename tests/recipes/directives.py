"""Directives of a long past and of another's making, and what django-q2 remembers of failed messages."""

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
