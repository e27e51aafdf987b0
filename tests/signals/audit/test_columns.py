"""Every column of signals, seals and prunings is sealed or named as left out, or an import fails."""

import subprocess
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured

from signals.audit.format import events
from signals.audit.format.events import check_named
from signals.audit.sealing import sealer
from signals.models import SealEntry, Signal
from tests.support import environment

ADD_COLUMN = """
from contextlib import suppress

import django
from django.db import models
from django.db.models.signals import class_prepared

def add(sender, **_):
    if sender.__module__ == "signals.models" and sender.__name__ == {model!r}:
        models.CharField(max_length=9, default="").contribute_to_class(sender, "added")

class_prepared.connect(add, weak=False)
# Where directives build their own INSERT of signals, `bus.insertion` refuses a new column with this error.
with suppress(ValueError):
    django.setup()
import signals.audit.sealing.heads
import signals.audit.format.events
"""
JSON = ("payload", "metadata")
ROW = ["{}" if name in JSON else str(number) for number, name in enumerate(events.ATTRIBUTES)]
"""A text for each column of `events.COLUMNS`."""


@pytest.mark.parametrize("model", ["Signal", "Seal", "Pruning"])
def test_a_column_that_is_not_named_fails_at_import(model):
    found = subprocess.run(
        [sys.executable, "-c", ADD_COLUMN.format(model=model)],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert found.returncode == 1
    assert f"ImproperlyConfigured: {model}: expected each column once" in found.stderr
    assert "got added." in found.stderr


def test_the_program_starts_with_the_columns_that_there_are():
    found = subprocess.run(
        [sys.executable, "-c", ADD_COLUMN.format(model="Nothing")],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize("column", events.ATTRIBUTES)
def test_a_change_of_any_column_changes_the_event(column):
    place = list(events.ATTRIBUTES).index(column)
    assert events.COLUMNS.count(f"s.{column}") >= 1
    other = [*ROW]
    other[place] = '{"a": 1}' if column in JSON else "another"
    assert events.event(other, "alpha") != events.event(ROW, "alpha")


def test_the_attributes_are_in_the_order_of_the_columns():
    columns = [field.column for field in Signal._meta.concrete_fields]
    assert [*events.ATTRIBUTES, *events.LEFT_OUT] == columns


def test_sealing_reads_no_personal_values():
    assert "personal" not in sealer._NEXT


@pytest.mark.parametrize(
    ("columns", "left_out", "wrong"),
    [
        ("id signal_id seal index leaf", "", "id"),
        ("signal_id seal index", "", "leaf"),
        ("signal_id seal index leaf", "seal", "seal"),
    ],
)
def test_a_name_that_is_no_column_or_named_twice_is_refused(columns, left_out, wrong):
    with pytest.raises(ImproperlyConfigured, match=f"SealEntry: .* got {wrong}\\."):
        check_named(SealEntry, sealed=columns.split(), left_out=left_out.split())
    check_named(SealEntry, sealed=["signal_id", "seal"], left_out=["index", "leaf"])
