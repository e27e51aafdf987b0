"""A directive's page: the facts, what happened, what belongs to it, and what can be done with it."""

from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.core.paginator import Page
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode

from directives import expiry, registry
from directives.admin import operating, pages
from directives.authority import permissions
from directives.display import history, labels
from directives.models import LOST_SIGNALS, Directive
from fleetprompt.postgres.primary_keys import parse_uuid
from fleetprompt.web.model_admin import CappedPaginator
from signals.models import Signal
from signals.types import Subject, stored_subject

MAX_SIGNALS = 200
MAX_RELATED = 20


def context(request: HttpRequest, directive: Directive) -> dict[str, Any]:
    """Return what a directive's page shows."""
    title = labels.label(directive.name)
    return {"title": title, **_context(request, directive), **_around(request, directive)}


def live(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Answer with the part of the page that changes while a directive waits or runs, if it changed."""
    if request.method not in ("GET", "HEAD"):
        raise PermissionDenied
    permissions.require_view(request.user, Directive)
    directive = get_object_or_404(Directive, pk=pk)
    if request.GET.get("seen") == _following(directive)["version"]:
        return HttpResponse(status=204)
    return TemplateResponse(request, "admin/directives/live.html", _context(request, directive))


def _context(request: HttpRequest, directive: Directive) -> dict[str, Any]:
    """Return what changes while the directive waits or runs."""
    may_see = request.user.has_perm("signals.view_signal")
    signals = list(_signals(directive)[: MAX_SIGNALS + 1]) if may_see else []
    filters = request.GET.get("_changelist_filters", "")
    # What is loaded again into the page has another address.
    back = labels.record_url(directive)
    if filters:
        back = f"{back}?{urlencode({'_changelist_filters': filters})}"
    metadata, lost = directive.metadata, directive.lost_signals
    if lost:
        metadata = {key: value for key, value in metadata.items() if key != LOST_SIGNALS}
    scope_and_member = _scope_and_member(directive)
    about = [directive.subject, *(one for _, one, _ in scope_and_member)]
    return {
        "directive": directive,
        **_following(directive),
        "is_live": directive.status not in Directive.TERMINAL,
        "is_snoozed": labels.is_snoozed(directive),
        "end": expiry.pending_ends().filter(causation_id=str(directive.pk)).first()
        if directive.expires_at
        else None,
        "duration": labels.duration(directive),
        "scope_and_member": scope_and_member,
        "records": labels.records(request.user, about),
        "filters": filters,
        "buttons": operating.buttons(request.user, directive, back),
        "lost": lost,
        "metadata": metadata,
        "entries": history.timeline(signals[:MAX_SIGNALS]),
        "may_see_signals": may_see,
        "is_timeline_cut": len(signals) > MAX_SIGNALS,
        "signals_shown": MAX_SIGNALS,
        "signals_url": f"{reverse('admin:signals_signal_changelist')}?q={directive.pk}",
    }


def _scope_and_member(directive: Directive) -> list[tuple[str, Subject | None, str]]:
    """Return its scope and its member, if it has them: each with a noun, its subject if any, and its id."""
    found = []
    for noun, attribute, text in [
        ("scope", "SCOPE", directive.scope),
        ("member", "MEMBER", str(directive.member_id or "")),
    ]:
        if text:
            about = stored_subject(registry.related_type(directive.subject_type, attribute), text)
            model = registry.subject_model(about.type) if about else None
            found.append((str(model._meta.verbose_name if model else noun), about, text))
    return found


def _signals(directive: Directive) -> QuerySet[Signal]:
    return Signal.objects.filter(causation_id=str(directive.pk)).order_by("-recorded_at", "-id")


def _following(directive: Directive) -> dict[str, Any]:
    """Return whether a cluster is missing, and a text that is another one when the page would be."""
    found = pages.follow_each([directive])
    newest = _signals(directive).values_list("pk", flat=True).first()
    has_begun = directive.started_at is not None
    parts = (labels.look(directive).word, directive.attempt, has_begun, newest, found["no_cluster"])
    return {**found, "version": "-".join(map(str, parts)).lower()}


def _around(request: HttpRequest, directive: Directive) -> dict[str, Any]:
    """Return what belongs to the directive: cause and effects, its batch, its subject's others."""
    others = Directive.objects.exclude(pk=directive.pk)
    batch = same_subject = None
    if directive.correlation_id:
        together = Directive.objects.filter(correlation_id=directive.correlation_id)
        batch = _related(together, "created_at", "id")
    effects = _related(others.filter(causation_id=str(directive.pk)), "created_at", "id")
    if directive.subject_type:
        about = others.filter(subject_type=directive.subject_type, subject_id=directive.subject_id)
        same_subject = _related(about, "-created_at", "-id")
    shown = [row for related in (batch, effects, same_subject) if related for row in related]
    return {
        "batch": batch,
        "batch_url": reverse("admin:directives_directive_batch", args=[directive.correlation_id])
        if batch
        else "",
        "cause": _cause(directive),
        "effects": effects,
        "same_subject": same_subject,
        "around_records": labels.records(request.user, (row.subject for row in shown)),
    }


def _related(found: QuerySet[Directive], *order: str) -> "Page[Directive]":
    """Return the first of other directives that belong to one."""
    return CappedPaginator(found.order_by(*order), MAX_RELATED).page(1)


def _cause(directive: Directive) -> Model | str:
    """Return the directive or the signal that led to this one, or the text that says what did."""
    text = directive.causation_id
    pk = parse_uuid(text)
    if pk is None:
        return text
    return Directive.objects.filter(pk=pk).first() or Signal.objects.filter(pk=pk).first() or text
