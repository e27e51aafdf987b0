"""The page of a batch: everything that was requested together, and how far it is."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from directives import registry, requests
from directives.admin import operating, pages
from directives.authority import permissions
from directives.display import labels
from directives.models import Directive
from directives.requesting import batches
from directives.requesting.batches import Progress
from fleetprompt.postgres.primary_keys import parse_uuid
from fleetprompt.web import coming_back
from fleetprompt.web.model_admin import CappedPaginator
from signals.types import as_object

PER_PAGE = 50
MAX_FAILURES = 10
"""How many of the failed ones are named at the top."""
_SEGMENTS = ("succeeded", "failed", "canceled", "running", "requested", "snoozed")


@require_GET
def show(request: HttpRequest, correlation_id: str) -> HttpResponse:
    """Show the directives with one correlation id; to htmx, only what changes while they run."""
    permissions.require_view(request.user, Directive)
    if "\x00" in correlation_id:
        raise Http404("There is no such batch")
    announced = requests.find_batch(correlation_id)
    progress = batches.progress(correlation_id)
    if announced is None and not progress.total:
        raise Http404("There is no such batch")
    together = batches.directives(correlation_id)
    facts = as_object(announced and announced.payload)
    origins = [] if announced else batches.origins(correlation_id)
    page = CappedPaginator(together, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "records": labels.records(request.user, [directive.subject for directive in page]),
        "announced": announced,
        "progress": progress,
        "segments": _segments(progress),
        "failures": together.filter(status=Directive.Status.FAILED)[:MAX_FAILURES],
        "undo_url": _undo_url(request, correlation_id, facts, origins, progress),
        **pages.follow(progress),
    }
    if "HX-Request" in request.headers:
        return TemplateResponse(request, "admin/directives/batch_live.html", context)
    known = _known(facts)
    context.update(
        expires_at=parse_datetime(str(facts.get("expires_at") or "")),
        known=known,
        known_records=labels.records(request.user, [directive.subject for directive in known]),
        title=_title(facts, origins, progress),
        origins=origins,
        correlation_id=correlation_id,
        back_link=coming_back.link(request.GET, _list_url(facts)),
        all_url=f"{reverse('admin:directives_directive_changelist')}?{urlencode({'q': correlation_id})}",
    )
    return pages.show(request, "admin/directives/batch.html", context)


def _known(facts: Mapping[str, Any]) -> list[Directive]:
    """Return the first of those that had been requested before, as far as the batch's signal names them."""
    ids = facts.get("known_directives")
    texts = ids if isinstance(ids, list) else []
    return list(Directive.objects.filter(pk__in=[pk for text in texts if (pk := parse_uuid(text))]))


def _segments(progress: Progress) -> list[dict[str, Any]]:
    """Return each status that occurs, with how many have it."""
    return [
        {
            "look": labels.STATUSES[status],
            "ends": status in Directive.TERMINAL,
            "number": progress.counts[status],
        }
        for status in _SEGMENTS
        if progress.counts.get(status)
    ]


def _undo_url(
    request: HttpRequest,
    correlation_id: str,
    facts: Mapping[str, Any],
    origins: Sequence[Mapping[str, Any]],
    progress: Progress,
) -> str:
    """Return the address on which the user may undo what succeeded, with the way back; or nothing."""
    if not progress.counts.get(Directive.Status.SUCCEEDED):
        return ""
    names = {str(one["name"]) for one in origins} or {str(facts.get("name"))}
    url = operating.undo_url(request.user, correlation_id, names)
    return url and coming_back.with_back(url, request.path)


def _title(facts: Mapping[str, Any], origins: Sequence[Mapping[str, Any]], progress: Progress) -> str:
    names = list({origin["name"] for origin in origins}) or [facts.get("name")]
    asked = facts.get("asked")
    count = asked if type(asked) is int else progress.total
    return labels.counted_label(str(names[0]), count) if len(names) == 1 else f"{count:,} directives"


def _list_url(facts: Mapping[str, Any]) -> str:
    """Return the address of the list of what a batch is about; empty when that is not known."""
    handler = registry.find(str(facts.get("name")))
    return labels.list_url(handler.subject_type) if handler else ""
