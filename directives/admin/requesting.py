"""Requesting in the admin: choosing a type, filling its form, confirming a selection, trying it out."""

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from directives import registry, subjects
from directives.admin import access, kept_forms, undoing
from directives.admin.forms import RequestForm, payload_form
from directives.admin.selection import Selection
from directives.authority import permissions
from directives.display import labels
from directives.errors import Refused
from directives.models import Directive
from directives.registry import AnyHandler
from directives.requesting import batches
from directives.requesting.dry_run import DryRun, dry_run
from fleetprompt.sites import tenant_site
from fleetprompt.visible import visible

SHOWN = 10
"""How many refusals are told one by one."""
TRIED = 5
"""How many of a selection are tried out."""


@require_GET
def choose(request: HttpRequest) -> HttpResponse:
    """Show the directive types that the user may request."""
    allowed = _requestable(request.user)
    if not allowed:
        access.refuse(request, "request directives", "to request a directive of some name")
    context = {"title": "Request directive", "handlers": allowed}
    return _page(request, "admin/directives/choose.html", context)


def may_request_any(user: Any) -> bool:
    """Return whether there is a directive type that the user may request."""
    return bool(_requestable(user))


def request_one_type(request: HttpRequest, name: str) -> HttpResponse:
    """Show the form for requesting directives of one type; on POST request them, or try them out.

    The parameter `subjects` has the ids of a selection, separated by commas; without it the form asks
    for the subject too. `cause` is the directive that it undoes, `cause_attempt` the attempt of that one
    which the page knew.
    """
    handler = registry.find(name)
    if handler is None:
        raise Http404(f"There is no directive {name}")
    access.require(request, "request", name)
    kept = kept_forms.restore(request)
    given = kept or request.POST or request.GET
    ids = _ids(handler.subject_type, given.get("subjects", "")) if handler.subject_field else []
    selection = Selection(handler, ids, request.user) if ids else None
    form_class = payload_form(handler, leave_out=_known_of(handler) if ids else [])
    cause = _cause(request, given)
    problem = _problem(given, cause, name, ids)
    if kept:
        kept_forms.tell(request)
        return _form(request, form_class(kept, user=request.user), selection, problem=problem)
    if request.method != "POST" or "confirm" not in request.POST:
        return _form(request, form_class(user=request.user), selection, problem=problem)
    form = form_class(request.POST, user=request.user)
    if not form.is_valid():
        return _form(request, form, selection)
    # A second submit finds what the first one has changed, and is answered as that one was.
    if problem and not batches.find(str(form.cleaned_data["batch"])):
        form.add_refusal(problem)
        return _form(request, form, selection)
    payloads = [form.payload(**_named(handler, pk)) for pk in ids] if ids else [form.payload()]
    if cause:
        # The subject may change before it is executed, too.
        payloads[0] |= undoing.expectation(cause)
    if request.POST["confirm"] == "dry_run":
        return _try_out(request, form, selection, payloads)
    return _request(request, form, selection, payloads, cause)


def confirm_selection(request: HttpRequest, name: str, ids: Sequence[str]) -> HttpResponse:
    """Ask for confirmation of a directive for each of a list's selected records."""
    handler = registry.get(name)
    access.require(request, "request", name)
    return _form(
        request,
        payload_form(handler, leave_out=_known_of(handler))(user=request.user),
        Selection(handler, ids, request.user),
    )


@require_GET
def undo(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Lead to the request of the directive that undoes another one."""
    _require_view_of_directives(request)
    directive = get_object_or_404(Directive, pk=pk)
    inverse = undoing.inverse_of(directive)
    if inverse is None:
        raise Http404("Nothing undoes this directive")
    access.require(request, "request", inverse)
    return redirect(request_url(inverse, [directive.subject_id], cause=str(directive.pk)))


@require_GET
def pick(request: HttpRequest, subject_type: str) -> JsonResponse:
    """Return the subjects of a type that match a term, for a picker: their ids and titles."""
    model = subjects.model(subject_type)
    model_admin: Any = tenant_site._registry.get(model) if model else None
    if model_admin is None:
        raise Http404(f"There is nothing to pick of type {subject_type}")
    if not model_admin.has_view_permission(request):
        access.refuse(request, f"see {subject_type}", f"to view {model_admin.opts.verbose_name_plural}")
    term = request.GET.get("term", "").replace("\x00", "")
    found, _ = model_admin.get_search_results(request, model_admin.get_queryset(request), term)
    results = [{"id": str(record.pk), "text": visible(str(record))} for record in found[:20]]
    return JsonResponse({"results": results, "pagination": {"more": False}})


def request_url(name: str, ids: Iterable[str] = (), **extra: str) -> str:
    """Return the address of the page that requests a directive for the subjects with `ids`."""
    url = reverse("admin:directives_directive_request_type", args=[name])
    query = {"subjects": _joined(ids), **extra}
    return f"{url}?{urlencode(query)}" if query["subjects"] else url


def _request(
    request: HttpRequest,
    form: RequestForm,
    selection: Selection | None,
    payloads: list[dict[str, Any]],
    cause: Directive | None,
) -> HttpResponse:
    batch_id = str(form.cleaned_data["batch"])
    try:
        refused = batches.request_batch(
            batch_id,
            form.handler.name,
            payloads,
            actor=permissions.actor_of(request.user),  # type: ignore[arg-type]
            reason=form.cleaned_data["reason"],
            scheduled_at=form.scheduled_at,
            causation_id=str(cause.pk) if cause else None,
        )
    except Refused as refusal:
        form.add_refusal(refusal)
        form.renew()
        return _form(request, form, selection)
    for one in (refused or [])[:SHOWN]:
        messages.error(request, str(one))
    return HttpResponseRedirect(labels.batch_url(batch_id))


def _try_out(
    request: HttpRequest,
    form: RequestForm,
    selection: Selection | None,
    payloads: list[dict[str, Any]],
) -> HttpResponse:
    _require_view(request, form.handler)
    actor = permissions.actor_of(request.user)  # type: ignore[arg-type]
    runs: list[DryRun] = []
    try:
        for payload in payloads[:TRIED]:
            runs.append(
                dry_run(form.handler.name, payload, actor=actor, reason=form.cleaned_data["reason"])
            )
    except Refused as refusal:
        form.add_refusal(refusal)
    records = labels.records(request.user, [run.subject for run in runs if run.subject])
    return _form(request, form, selection, dry_runs=runs, records=records)


def _require_view(request: HttpRequest, handler: AnyHandler) -> None:
    """Refuse to try out what would show something of records that the user may not view."""
    for subject_type in sorted({handler.subject_type, *handler.references().values()} - {""}):
        model = subjects.model(subject_type)
        if model and not permissions.may_view(request.user, model):
            what = f"see {model._meta.verbose_name_plural}"
            access.refuse(request, what, permissions.view_permission(model))


def _form(
    request: HttpRequest, form: RequestForm, selection: Selection | None, **context: Any
) -> HttpResponse:
    handler = form.handler
    ids = selection.ids if selection else []
    count = len(ids)
    given = kept_forms.restore(request) or request.POST or request.GET
    cause = _cause(request, given)
    return _page(
        request,
        "admin/directives/request.html",
        {
            "title": f"{handler.label}: {count:,} {selection.noun}" if selection else handler.label,
            "handler": handler,
            "form": form,
            "selection": selection,
            "action": request_url(handler.name),
            "subjects": _joined(ids),
            "back": _list_url(handler) if selection else "",
            "cause": given.get("cause", ""),
            "cause_directive": cause,
            "cause_attempt": given.get("cause_attempt", cause.attempt if cause else ""),
            "media": form.media,
            "owner": kept_forms.owner(request.user),
            **context,
        },
        status=400 if request.method == "POST" and form.errors else 200,
    )


def _page(
    request: HttpRequest, template: str, context: dict[str, Any], status: int = 200
) -> TemplateResponse:
    whole = {**tenant_site.each_context(request), "opts": Directive._meta, **context}
    return TemplateResponse(request, template, whole, status=status)


def _requestable(user: Any) -> list[AnyHandler]:
    return [handler for handler in registry.handlers() if permissions.allows(user, "request", handler.name)]


def _list_url(handler: AnyHandler) -> str:
    model: Any = subjects.model(handler.subject_type)
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def _known_of(handler: AnyHandler) -> list[str]:
    """Return the payload's fields that need not be asked for when the subjects are known."""
    return [handler.subject_field, "expected_revision"]


def _cause(request: HttpRequest, given: QueryDict) -> Directive | None:
    """Return the directive that a request says it undoes, if there is one with that id.

    Raises:
        PermissionRefused: the user may not view directives, and would learn of one.
    """
    pk = subjects.uuid(given.get("cause", ""))
    if pk:
        _require_view_of_directives(request)
    return Directive.objects.filter(pk=pk).first() if pk else None


def _require_view_of_directives(request: HttpRequest) -> None:
    if not permissions.may_view(request.user, Directive):
        access.refuse(request, "see directives", permissions.view_permission(Directive))


def _problem(given: QueryDict, cause: Directive | None, name: str, ids: Sequence[str]) -> Refused | None:
    """Return why a request does not undo what it says, if so."""
    if not given.get("cause"):
        return None
    try:
        undoing.check(cause, name, ids, given.get("cause_attempt"))
    except Refused as refusal:
        return refusal
    return None


def _named(handler: AnyHandler, pk: str) -> dict[str, Any]:
    """Return the field of the payload that names a subject, as JSON has it."""
    found = subjects.key(handler.subject_type, pk)
    return {handler.subject_field: found if isinstance(found, int) else pk}


def _joined(ids: Iterable[str]) -> str:
    """Return ids as one text, whatever characters they are made of."""
    return ",".join(quote(pk, safe=" ") for pk in ids)


def _ids(subject_type: str, text: str) -> list[str]:
    """Return the ids that `_joined` made a text of, each once and in its one form, without what is none."""
    found = [subjects.key(subject_type, unquote(part)) for part in text.split(",")]
    return list(dict.fromkeys(str(pk) for pk in found if pk not in (None, "")))
