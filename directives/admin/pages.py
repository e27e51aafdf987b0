"""Parts that pages about directives share: what each shows, and following what has not ended."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest
from django.template.response import TemplateResponse

from directives.display import labels
from directives.models import Directive
from directives.queueing import clusters
from directives.requesting.batches import Progress
from fleetprompt.sites import tenant_site
from fleetprompt.web import kept_forms


def show(request: HttpRequest, template: str, context: dict[str, Any]) -> TemplateResponse:
    """Return a page of the tenant's admin about directives."""
    common = {"opts": Directive._meta, "owner": kept_forms.owner(request.user)}
    return TemplateResponse(request, template, {**tenant_site.each_context(request), **common, **context})


def follow(progress: Progress) -> dict[str, Any]:
    """Return for a template in how many `seconds` to look again, 0 for never, and `no_cluster`.

    `no_cluster` says that something is still to run and no cluster is there to do it.
    """
    return {
        # Nothing to see every second in what waits for its time.
        "seconds": 0 if progress.is_over else 10 if progress.is_waiting else 1,
        "no_cluster": not progress.is_over and not clusters.has_cluster(),
    }


def follow_each(directives: Iterable[Directive]) -> dict[str, Any]:
    """Return what `follow` does, of some directives."""
    states = ("snoozed" if labels.is_snoozed(one) else one.status for one in directives)
    return follow(Progress(Counter(states)))
