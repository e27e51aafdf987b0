"""Signals that the project's code did not emit."""

from model_bakery.recipe import Recipe, seq

from signals.models import Signal

signal = Recipe(Signal, name="zoo.counted", dedupe_key=seq("made:"), actor_type="system", actor_id="tester")
