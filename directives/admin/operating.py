"""The pages on which people snooze, rerun, cancel or run directives: the question, then the answer."""

import json
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn
from uuid import UUID, uuid5

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME as SELECTED
from django.core.exceptions import BadRequest
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse

from directives import registry
from directives.admin import pages, submissions
from directives.admin.operation_form import OperationForm, SnoozeForm
from directives.admin.performing import MAX_DIRECTIVES as MAX_DIRECTIVES
from directives.admin.performing import OPERATIONS, Operation, done_since, longest_run_seconds, perform
from directives.admin.results import Result, up_to_date
from directives.admin.submissions import Submission
from directives.authority import permissions
from directives.display import labels
from directives.models import Directive
from fleetprompt.postgres.primary_keys import parse_uuid
from fleetprompt.web import coming_back, kept_forms
from fleetprompt.web.kept_forms import Kept, Why

MAX_SHOWN = 50
"""How many of the selected directives the question lists."""


def actions(user: Any) -> dict[str, Any]:
    """Return the list's actions: the operations that the user may do on at least one directive type."""
    names = [handler.name for handler in registry.handlers()]
    return {
        slug: (partial(_ask_about, operation), slug, operation.label)
        for slug, operation in OPERATIONS.items()
        if any(operation.allows(user, name) for name in names)
    }


def buttons(user: Any, directive: Directive, back: str) -> list[dict[str, str]]:
    """Return the ways to what the user may do and the status allows, and from there `back`."""
    return [
        {
            "label": operation.label,
            "icon": labels.signal_icon(operation.signal),
            "url": coming_back.with_back(f"{_url(operation)}?id={directive.pk}", back),
        }
        for operation in OPERATIONS.values()
        if directive.status in operation.states and operation.allows(user, directive.name)
    ]


def refuse_unoffered(request: HttpRequest) -> None:
    """Refuse an action of the list that is not offered to the user.

    Raises:
        PermissionDenied: one was posted all the same.
    """
    posted = request.POST.getlist("action") if request.method == "POST" else []
    for slug in posted:
        if slug in OPERATIONS and slug not in actions(request.user):
            _refuse(request, OPERATIONS[slug], [])


def _ask_about(
    operation: Operation, admin: Any, request: HttpRequest, queryset: QuerySet[Directive]
) -> HttpResponse | None:
    """Be the action of the list: ask the question about what is selected."""
    ids = list(queryset.values_list("pk", flat=True)[: MAX_DIRECTIVES + 1])
    if len(ids) > MAX_DIRECTIVES:
        most = f"select at most {MAX_DIRECTIVES} directives at once. Narrow the list by filters."
        admin.message_user(request, f"{operation.label}: {most}", messages.ERROR)
        return None
    _choose(request, operation, ids)
    chosen = QueryDict(mutable=True)
    chosen.setlist(SELECTED, [str(pk) for pk in ids])
    chosen[coming_back.PARAMETER] = request.get_full_path()
    return kept_forms.lead_to(_url(operation), request, chosen, Why.CHOSEN)


def question(request: HttpRequest, slug: str) -> HttpResponse:
    """Ask about an operation on directives; on POST do it."""
    operation = _operation(request, slug)
    if request.method == "POST":
        return _submit(request, operation)
    try:
        kept = kept_forms.restore(request)
    except kept_forms.Gone:
        return kept_forms.start_again(request, reverse("admin:directives_directive_changelist"))
    given = kept.fields if kept else request.GET
    ids = _ids(given.getlist(SELECTED if kept else "id"))
    chosen = _choose(request, operation, ids)
    if not chosen:
        raise Http404("there is no such directive")
    kept_forms.tell(request, kept)
    problems = Counter(problem for _, problem in chosen if problem)
    possible = len(chosen) - problems.total()
    # What will not be done comes first: it is what people have to know.
    shown = sorted(chosen, key=lambda choice: not choice[1])[:MAX_SHOWN]
    context = {
        "title": operation.sentence(possible) if possible else operation.label,
        "operation": operation,
        "form": _form(operation, kept),
        "ids": ids,
        "selected": SELECTED,
        "action_url": _url(operation),
        "shown": shown,
        "hidden": len(chosen) - len(shown),
        "possible": possible,
        "back": coming_back.url_of(given),
        "back_link": _back(given, ids),
        "problems": problems.most_common(),
        "missing": len(ids) - len(chosen),
        "records": labels.records(request.user, [directive.subject for directive, _ in shown]),
    }
    return pages.show(request, "admin/directives/operate.html", context)


def _submit(request: HttpRequest, operation: Operation) -> HttpResponse:
    """Do what was submitted and lead to the answer, or lead back to the question."""
    ids = _ids(request.POST.getlist(SELECTED))
    _choose(request, operation, ids)
    form = _form_class(operation)(request.POST)
    if "ask" in request.POST or not form.is_valid():
        why = Why.CHOSEN if "ask" in request.POST else Why.SENT
        return kept_forms.lead_to(_url(operation), request, request.POST, why)
    token = _token(operation, ids, form)
    reason, longest = form.cleaned_data["reason"], longest_run_seconds(operation, ids)
    # A second submit of one form finds the first one at work, its answer, or where it stopped.
    if submission := submissions.begin(_key(request, token), ids, reason, longest_seconds=longest):
        actor = permissions.actor_of(request.user)
        options = {"until": form.cleaned_data["until"]} if "until" in form.fields else {}
        for result in perform(operation, ids, actor=actor, reason=reason, options=options):
            submission.note(result)
        submission.finish()
    url = reverse("admin:directives_directive_operated", args=[operation.slug, token])
    return HttpResponseRedirect(coming_back.with_back(url, coming_back.url_of(request.POST)))


def answer(request: HttpRequest, slug: str, token: UUID) -> HttpResponse:
    """Show what came of a submitted operation."""
    operation = _operation(request, slug)
    submission = submissions.find(_key(request, token))
    if submission is None:
        raise Http404("the results of an operation are kept for an hour")
    is_at_work = submission.is_at_work
    results: list[Result] = [] if is_at_work else _results(request, operation, submission)
    known = {result.directive_id for result in results}
    found = Directive.objects.in_bulk(list(known))
    context = {
        "title": operation.label if is_at_work else f"{operation.label}: what happened",
        "operation": operation,
        "submission": submission,
        "is_at_work": is_at_work,
        "left": [] if is_at_work else [pk for pk in submission.ids if pk not in known],
        "selected": SELECTED,
        "action_url": _url(operation),
        "back": coming_back.url_of(request.GET),
        "back_link": _back(request.GET, list(found)),
        "rows": [(result, found.get(result.directive_id)) for result in results],
        "counts": Counter((result.word, result.tone) for result in results).most_common(),
        "records": labels.records(request.user, [one.subject for one in found.values()]),
        **pages.follow_each(found.values()),
    }
    return pages.show(request, "admin/directives/operated.html", context)


def _results(request: HttpRequest, operation: Operation, submission: Submission) -> list[Result]:
    """Return what came of those that were done, also of what a stopped process did after it saved last."""
    noted = submission.results
    unknown = [] if submission.is_over else [pk for pk in submission.ids if pk not in noted]
    done = done_since(operation, unknown, permissions.actor_of(request.user), submission.began_at)
    return up_to_date([*noted.values(), *done])


def _operation(request: HttpRequest, slug: str) -> Operation:
    if slug not in OPERATIONS:
        raise Http404("there is no such operation")
    operation = OPERATIONS[slug]
    if not permissions.may_view(request.user, Directive) or slug not in actions(request.user):
        _refuse(request, operation, [])
    return operation


def _ids(texts: Sequence[str]) -> list[UUID]:
    ids = list(dict.fromkeys(pk for text in texts if (pk := parse_uuid(text))))
    if not all(map(parse_uuid, texts)):
        raise BadRequest("id: expected UUIDs")
    if not 0 < len(ids) <= MAX_DIRECTIVES:
        raise BadRequest(f"id: expected 1 to {MAX_DIRECTIVES} directives; got {len(ids)}")
    return ids


def _choose(request: HttpRequest, operation: Operation, ids: Sequence[UUID]) -> list[tuple[Directive, str]]:
    """Return the selected directives that exist, each with why the operation will not be done, if so.

    Raises:
        PermissionDenied: the user may do it to none of them.
    """
    directives = list(Directive.objects.filter(pk__in=ids))
    allowed = {name: operation.allows(request.user, name) for name in {d.name for d in directives}}
    if allowed and not any(allowed.values()):
        _refuse(request, operation, sorted(allowed))
    refusal = "You may not do this to directives of this name."
    return [
        (directive, operation.why_not(directive.status) if allowed[directive.name] else refusal)
        for directive in directives
    ]


def _refuse(request: HttpRequest, operation: Operation, names: Sequence[str]) -> NoReturn:
    needed = [permissions.permission(operation.permission, name) for name in names]
    about = ", ".join(names) or "any directive"
    what = f"{operation.label.lower()} {about}"
    permissions.refuse(request.user, what, ", ".join(needed) or f"to {operation.permission} some type")


def _form_class(operation: Operation) -> type[OperationForm]:
    return SnoozeForm if operation.slug == "snooze" else OperationForm


def _form(operation: Operation, kept: Kept | None) -> OperationForm:
    """Return the form with what was filled in; where the question was only asked for, with the reason."""
    form_class = _form_class(operation)
    if kept and kept.why != Why.CHOSEN and "ask" not in kept.fields:
        return form_class(kept.fields)
    return form_class(initial={"reason": kept.fields.get("reason") if kept else None})


def _back(given: QueryDict, ids: Sequence[UUID]) -> coming_back.Back | None:
    """Return the way back: to where the person came from, to the one directive, or to the list."""
    if len(ids) == 1 and not coming_back.url_of(given):
        url = reverse("admin:directives_directive_change", args=[ids[0]])
        return coming_back.Back(url, "Back to the directive")
    return coming_back.link(given, reverse("admin:directives_directive_changelist"))


def _url(operation: Operation) -> str:
    return reverse("admin:directives_directive_operate", args=[operation.slug])


def _token(operation: Operation, ids: Sequence[UUID], form: OperationForm) -> UUID:
    """Return what names one submit: the form's own number, and all that was filled in."""
    chosen = [form.cleaned_data["reason"], *map(form.data.get, ("until", "at", "zone", "shown_at"))]
    return uuid5(form.cleaned_data["token"], json.dumps([operation.slug, *map(str, ids), *chosen]))


def _key(request: HttpRequest, token: UUID) -> str:
    return f"operation:{request.user.pk}:{token}"
