"""The pages on which people snooze, rerun, undo directives and so on: the question, then the answer."""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, NoReturn
from uuid import UUID, uuid5

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME as SELECTED
from django.core.exceptions import BadRequest
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from directives import registry, requests
from directives.admin import pages, submissions, undoing
from directives.admin.operation_form import OperationForm, SnoozeForm, UndoForm
from directives.admin.performing import MAX_DIRECTIVES as MAX_DIRECTIVES
from directives.admin.performing import OPERATIONS, Operation, done_since, longest_run_seconds, perform
from directives.admin.results import Result, followed, up_to_date
from directives.admin.submissions import Submission
from directives.authority import permissions
from directives.display import labels
from directives.models import Directive
from directives.requesting import batches
from fleetprompt.postgres.primary_keys import parse_uuid
from fleetprompt.web import coming_back, kept_forms
from fleetprompt.web.kept_forms import Kept, Why

MAX_SHOWN = 50
"""How many of the selected directives the question lists."""
MAX_ANSWERED = 500
"""How many of a batch the answer lists: those first that were not done."""
BATCH = "batch"
"""The parameter with the correlation id of a batch to undo."""
_BATCH_SECONDS = 120
"""How long undoing a batch may take, which is one transaction."""
_UNDO = OPERATIONS["undo"]


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
            "icon": operation.icon,
            "url": coming_back.with_back(f"{_url(operation)}?id={directive.pk}", back),
        }
        for operation in OPERATIONS.values()
        if directive.status in operation.states
        and operation.allows(user, directive.name)
        and not (operation is _UNDO and undoing.problems(user, [directive]))
    ]


def undo_url(user: Any, correlation_id: str, names: Collection[str]) -> str:
    """Return the address on which a user undoes a batch of directives with these names, or nothing."""
    allowed = all(_UNDO.allows(user, name) for name in names)
    return f"{_url(_UNDO)}?{urlencode({BATCH: correlation_id})}" if allowed else ""


@require_GET
def undo(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Lead from the former address of undoing a directive to the present one."""
    return redirect(coming_back.with_back(f"{_url(_UNDO)}?id={pk}", coming_back.url_of(request.GET)))


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
    batch, ids = _asked(operation, given, SELECTED if kept else "id")
    chosen = _choose(request, operation, ids, whole=bool(batch))
    if not chosen:
        raise Http404("there is no such directive")
    kept_forms.tell(request, kept)
    rerun = undoing.rerun_since(ids, given.get("seen", "")) if operation is _UNDO else []
    if operation is _UNDO:
        chosen = _with_obstacles(request.user, chosen)
    problems = Counter(problem for _, problem in chosen if problem)
    possible = len(chosen) - problems.total()
    # What will not be done comes first: it is what people have to know.
    shown = sorted(chosen, key=lambda choice: not choice[1])[:MAX_SHOWN]
    context = {
        "title": operation.sentence(possible) if possible else operation.label,
        "operation": operation,
        "form": _form(operation, kept, [directive for directive, _ in chosen]),
        "ids": [] if batch else ids,
        "batch": batch,
        "rerun": rerun,
        "unseen": max(len(chosen) - MAX_DIRECTIVES, 0) if operation is _UNDO else 0,
        "selected": SELECTED,
        "action_url": _url(operation),
        "shown": shown,
        "hidden": len(chosen) - len(shown),
        "possible": possible,
        "back": coming_back.url_of(given),
        "back_link": _back(given, ids, batch),
        "problems": problems.most_common(MAX_SHOWN),
        "missing": len(ids) - len(chosen),
        "records": labels.records(request.user, [directive.subject for directive, _ in shown]),
    }
    return pages.show(request, "admin/directives/operate.html", context)


def _submit(request: HttpRequest, operation: Operation) -> HttpResponse:
    """Do what was submitted and lead to the answer, or lead back to the question."""
    batch, ids = _asked(operation, request.POST, SELECTED)
    _choose(request, operation, ids, whole=bool(batch))
    form = _form_class(operation)(request.POST)
    if "ask" in request.POST or not form.is_valid():
        why = Why.CHOSEN if "ask" in request.POST else Why.SENT
        return kept_forms.lead_to(_url(operation), request, request.POST, why)
    token = _token(operation, [batch] if batch else ids, form)
    key, reason = _key(request, token), form.cleaned_data["reason"]
    longest = _BATCH_SECONDS if batch else longest_run_seconds(operation, ids)
    if undoing.rerun_since(ids, form.cleaned_data.get("seen", "")) and not submissions.find(key):
        return kept_forms.lead_to(_url(operation), request, request.POST, Why.SENT)
    # A second submit of one form finds the first one at work, its answer, or where it stopped.
    if submission := submissions.begin(key, ids, reason, longest_seconds=longest, batch=batch):
        actor = permissions.actor_of(request.user)
        options = {"until": form.cleaned_data["until"]} if "until" in form.fields else {}
        results = (
            undoing.undo_batch(batch, ids, actor=actor, reason=reason)
            if batch
            else perform(operation, ids, actor=actor, reason=reason, options=options)
        )
        for result in results:
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
    noted: list[Result] = [] if is_at_work else _noted(request, operation, submission)
    # Read once: a page must not stop following a directive that ends after its row was made.
    directives = followed(noted)
    results = up_to_date(noted, directives)
    known = {result.directive_id for result in results}
    if submission.batch:
        # What was not done comes first: it is what people have to know.
        results.sort(key=lambda result: result.tone == "good")
    shown = results[:MAX_ANSWERED]
    hidden = len(results) - len(shown)
    following = pages.follow_each(directives[one.followed] for one in shown if one.followed in directives)
    others = {one.directive_id for one in shown} - directives.keys()
    found = {**directives, **Directive.objects.in_bulk(others)}
    if hidden:
        # The whole of a large batch is read each time.
        following["seconds"] *= 10
    context = {
        "title": operation.label if is_at_work else f"{operation.label}: what happened",
        "operation": operation,
        "submission": submission,
        "is_at_work": is_at_work,
        "left": [] if is_at_work else [pk for pk in submission.ids if pk not in known],
        "selected": SELECTED,
        "action_url": _url(operation),
        "back": coming_back.url_of(request.GET),
        "back_link": _back(request.GET, submission.ids, submission.batch),
        "rows": [(result, found.get(result.directive_id)) for result in shown],
        "hidden": hidden,
        "counts": Counter((result.word, result.tone) for result in results).most_common(),
        "records": labels.records(request.user, [one.subject for one in found.values()]),
        **following,
    }
    return pages.show(request, "admin/directives/operated.html", context)


def _noted(request: HttpRequest, operation: Operation, submission: Submission) -> list[Result]:
    """Return what was noted of those that were done, and what a stopped process did after its last note."""
    noted = submission.results
    unknown = [] if submission.is_over else [pk for pk in submission.ids if pk not in noted]
    done = done_since(operation, unknown, permissions.actor_of(request.user), submission.began_at)
    return [*noted.values(), *done]


def _operation(request: HttpRequest, slug: str) -> Operation:
    if slug not in OPERATIONS:
        raise Http404("there is no such operation")
    operation = OPERATIONS[slug]
    if not permissions.may_view(request.user, Directive) or slug not in actions(request.user):
        _refuse(request, operation, [])
    return operation


def _asked(operation: Operation, given: QueryDict, field: str) -> tuple[str, list[UUID]]:
    """Return the correlation id of the batch to undo, if it is one, and the ids of the directives."""
    batch = given.get(BATCH, "") if operation is _UNDO else ""
    if not batch:
        return "", _ids(given.getlist(field))
    if "\x00" in batch:
        raise Http404("there is no such batch")
    together = batches.directives(batch)
    ids = list(together.values_list("pk", flat=True)[: requests.MAX_BATCH + 1])
    if len(ids) > requests.MAX_BATCH:
        raise BadRequest(f"batch: expected at most {requests.MAX_BATCH} directives")
    return batch, ids


def _ids(texts: Sequence[str]) -> list[UUID]:
    ids = list(dict.fromkeys(pk for text in texts if (pk := parse_uuid(text))))
    if not all(map(parse_uuid, texts)):
        raise BadRequest("id: expected UUIDs")
    if not 0 < len(ids) <= MAX_DIRECTIVES:
        raise BadRequest(f"id: expected 1 to {MAX_DIRECTIVES} directives; got {len(ids)}")
    return ids


def _choose(
    request: HttpRequest, operation: Operation, ids: Sequence[UUID], *, whole: bool = False
) -> list[tuple[Directive, str]]:
    """Return the selected directives that exist, each with why the operation will not be done, if so.

    Raises:
        PermissionDenied: the user may do it to none of them, or not to the `whole` of a batch.
    """
    directives = list(Directive.objects.filter(pk__in=ids))
    allowed = {name: operation.allows(request.user, name) for name in {d.name for d in directives}}
    if allowed and not (all if whole else any)(allowed.values()):
        _refuse(request, operation, sorted(allowed))
    refusal = "You may not do this to directives of this name."
    return [
        (directive, operation.why_not(directive.status) if allowed[directive.name] else refusal)
        for directive in directives
    ]


def _with_obstacles(user: Any, chosen: Sequence[tuple[Directive, str]]) -> list[tuple[Directive, str]]:
    """Return the chosen directives with why they cannot be undone, looked up for the first ones."""
    asked = [directive for directive, problem in chosen[:MAX_DIRECTIVES] if not problem]
    found = undoing.problems(user, asked)
    return [(directive, problem or found.get(directive.pk, "")) for directive, problem in chosen]


def _refuse(request: HttpRequest, operation: Operation, names: Sequence[str]) -> NoReturn:
    needed = [permissions.permission(operation.permission, name) for name in names]
    about = ", ".join(names) or "any directive"
    what = f"{operation.label.lower()} {about}"
    permissions.refuse(request.user, what, ", ".join(needed) or f"to {operation.permission} some type")


def _form_class(operation: Operation) -> type[OperationForm]:
    return {"snooze": SnoozeForm, "undo": UndoForm}.get(operation.slug, OperationForm)


def _form(operation: Operation, kept: Kept | None, directives: Collection[Directive]) -> OperationForm:
    """Return the form with what was filled in; where the question was only asked for, with the reason."""
    form_class, seen = _form_class(operation), undoing.newest_request(directives)
    if kept and kept.why != Why.CHOSEN and "ask" not in kept.fields:
        fields = kept.fields.copy()
        # The page says what was rerun since.
        fields["seen"] = seen
        return form_class(fields)
    return form_class(initial={"reason": kept.fields.get("reason") if kept else None, "seen": seen})


def _back(given: QueryDict, ids: Sequence[UUID], batch: str) -> coming_back.Back | None:
    """Return the way back: to where the person came from, to the batch or one directive, or to the list."""
    if batch and not coming_back.url_of(given):
        url = reverse("admin:directives_directive_batch", args=[batch])
        return coming_back.Back(url, "Back to the batch")
    if len(ids) == 1 and not coming_back.url_of(given):
        url = reverse("admin:directives_directive_change", args=[ids[0]])
        return coming_back.Back(url, "Back to the directive")
    return coming_back.link(given, reverse("admin:directives_directive_changelist"))


def _url(operation: Operation) -> str:
    return reverse("admin:directives_directive_operate", args=[operation.slug])


def _token(operation: Operation, ids: Sequence[UUID | str], form: OperationForm) -> UUID:
    """Return what names one submit: the form's own number, and all that was filled in."""
    chosen = [form.cleaned_data["reason"], *map(form.data.get, ("until", "at", "zone", "shown_at"))]
    return uuid5(form.cleaned_data["token"], json.dumps([operation.slug, *map(str, ids), *chosen]))


def _key(request: HttpRequest, token: UUID) -> str:
    return f"operation:{request.user.pk}:{token}"
