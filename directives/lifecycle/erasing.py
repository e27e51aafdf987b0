"""Erases the personal texts of directives, and of the signals that tell of them."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from directives.models import Directive
from directives.restricting.obstacles import QUOTE
from directives.restricting.values import OF_TIMER
from signals.models import Signal

# What the timer requests has no reason of a person; without it, what was for a time would stay.
_ENDS = OF_TIMER & ~Q(personal__has_key="payload")


class Erased(NamedTuple):
    """How many rows were erased now; a directive counts even if it had no personal text."""

    directives: int
    signals: int


@transaction.atomic
def erase(directive_ids: Collection[UUID]) -> Erased:
    """Erase the personal texts of directives of the active tenant and of their signals, for good.

    An erased directive is not executed any more. A running attempt ends without an effect, unless it is
    about to commit: then this waits for the commit. What the timer requests without a text is left to run.
    Errors of other directives that quote reasons of the same subjects are erased, too.
    """
    # In the order in which attempts lock them. Whoever copies a text is waited for.
    found = Directive.objects.filter(pk__in=directive_ids, personal__isnull=False).order_by("pk")
    locked = list(found.select_for_update().only("pk", "subject_type", "subject_id"))
    ids = [one.pk for one in locked]
    directives = Directive.objects.filter(pk__in=ids).exclude(_ENDS).update(personal=None)
    # After the lock: an attempt has stored its signals by now.
    signals = Signal.objects.filter(causation_id__in=[str(pk) for pk in directive_ids])
    return Erased(directives, signals.erase() + _erase_quotes(locked))


def _erase_quotes(directives: Sequence[Directive]) -> int:
    """Erase errors that quote why the subjects were restricted; return how many signals had some."""
    ids, signals = defaultdict(set), 0
    for one in directives:
        ids[one.subject_type].add(one.subject_id)
    for subject_type, some in ids.items():
        about = {"subject_type": subject_type, "subject_id__in": some}
        Directive.objects.filter(**about, last_error__contains=QUOTE).update(last_error="")
        # Those of attempts before the last one, too.
        signals += Signal.objects.filter(**about, personal__error__1__icontains=QUOTE).erase()
    return signals
