"""Requesting in the admin: choosing a type, filling its form, confirming a selection, trying it out."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID

from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from directives import registry, requests
from directives.admin import pages, selection, undoing
from directives.admin.forms import RequestForm, payload_form
from directives.authority import permissions
from directives.display import labels
from directives.errors import Refused
from directives.models import Directive
from directives.registry import AnyHandler
from directives.requesting.dry_run import DryRun, dry_run
from fleetprompt.postgres.primary_keys import parse_uuid
from fleetprompt.sites import tenant_site
from fleetprompt.visible import visible
from fleetprompt.web import coming_back, kept_forms
from fleetprompt.web.kept_forms import Kept, Why

MAX_REFUSALS_SHOWN = 10
"""How many refusals are told one by one."""
MAX_TRIED = 5
"""How many of a selection are tried out."""


@require_GET
def choose(request: HttpRequest) -> HttpResponse:
    """Show the directive types that the user may request."""
    allowed = requestable(request.user)
    if not allowed:
        permissions.refuse(request.user, "request directives", "to request a directive of some name")
    context = {"title": "Request directive", "handlers": allowed}
    return pages.show(request, "admin/directives/choose.html", context)


def request_one_type(request: HttpRequest, name: str) -> HttpResponse:
    """Show the form for requesting directives of one type; on POST request them.

    What is not requested is shown by a redirect to the form: what is wrong with it, or what would happen.

    The parameter `subjects` has the ids of a selection, separated by commas; without it the form asks
    for the subject too. `cause` is the directive that it undoes, `cause_attempt` the attempt of that one
    which the page knew, `back` the page that the person came from.
    """
    handler = registry.find(name)
    if handler is None:
        raise Http404(f"There is no directive {name}")
    permissions.require(request.user, "request", name)
    if request.method == "POST":
        return _answer(request, _Asked(request, handler, request.POST))
    try:
        kept = kept_forms.restore(request)
    except kept_forms.Gone:
        return kept_forms.start_again(request, labels.list_url(handler.subject_type) or request.path)
    return _show(request, _Asked(request, handler, kept.fields if kept else request.GET), kept)


class _Asked:
    """What the fields of a form, or the parameters of an address, ask for.

    It is about the subjects with `ids`, or, without any, about the one that the form asks for. `cause` is
    the directive that it undoes; `problem` says why it does not, if so.
    """

    def __init__(self, request: HttpRequest, handler: AnyHandler, given: QueryDict) -> None:
        self.handler, self.given = handler, given
        self.keys = _keys(handler.subject_type, given.get("subjects", "")) if handler.subject_field else []
        self.ids = [str(key) for key in self.keys]
        self.cause, self.problem = _cause(request, given), ""
        if given.get("cause"):
            self.problem = undoing.problem(self.cause, handler.name, self.ids, given.get("cause_attempt"))

    def form(self, user: Any, *, is_filled_in: bool) -> RequestForm:
        """Return the form, filled in with what was given or empty."""
        known = (self.handler.subject_field, "expected_revision")
        form_class = payload_form(self.handler, leave_out=known if self.ids else ())
        return form_class(self.given if is_filled_in else None, user=user)

    def payloads(self, form: RequestForm) -> list[dict[str, Any]]:
        """Return a payload for each subject."""
        values = [key if isinstance(key, int) else str(key) for key in self.keys]
        named = [form.payload(**{self.handler.subject_field: value}) for value in values]
        payloads = named or [form.payload()]
        if self.cause:
            # The subject may change before it is executed, too.
            payloads[0] |= undoing.expectation(self.cause)
        return payloads


def _answer(request: HttpRequest, asked: _Asked) -> HttpResponse:
    """Request what was submitted, or lead back to the form."""
    form = asked.form(request.user, is_filled_in=True)
    if asked.given.get("confirm") == "dry_run":
        _require_view(request, asked.handler)
    elif "confirm" in asked.given and form.is_valid() and not _problem_of(asked, form):
        return _request(request, form, asked)
    why = Why.SENT if "confirm" in asked.given else Why.CHOSEN
    return kept_forms.lead_to(request.path, request, asked.given, why)


def _show(request: HttpRequest, asked: _Asked, kept: Kept | None) -> HttpResponse:
    """Show the form: empty, or with what was filled in, what is wrong with that, and what would happen."""
    form = asked.form(request.user, is_filled_in=kept is not None and kept.why != Why.CHOSEN)
    for text in kept.problems if kept else ():
        form.add_refusal(Refused(text))
    kept_forms.tell(request, kept)
    handler, given, ids, cause = asked.handler, asked.given, asked.ids, asked.cause
    problem = _problem_of(asked, form)
    context = {
        "title": labels.counted_label(handler.name, len(ids)) if ids else handler.label,
        "handler": handler,
        "form": form,
        "problem": problem,
        "selection": selection.described(handler, ids, request.user) if ids else None,
        "action": request_url(handler.name),
        "subjects": _joined(ids),
        "back": coming_back.url_of(given),
        "back_link": coming_back.link(given, labels.list_url(handler.subject_type) if ids else ""),
        "cause": given.get("cause", ""),
        "cause_directive": cause,
        "cause_attempt": given.get("cause_attempt", cause.attempt if cause else ""),
        "media": form.media,
    }
    is_tried = kept is not None and kept.why == Why.SENT and given.get("confirm") == "dry_run"
    if is_tried and form.is_valid() and not problem:
        context |= _try_out(request, form, asked.payloads(form))
    return pages.show(request, "admin/directives/request.html", context)


def _problem_of(asked: _Asked, form: RequestForm) -> str:
    # A second submit finds what the first one has changed, and is answered as that one was.
    is_known = asked.problem and form.is_valid() and requests.find_batch(str(form.cleaned_data["batch"]))
    return "" if is_known else asked.problem


def confirm_selection(
    model_admin: Any, request: HttpRequest, queryset: QuerySet[Any], *, name: str
) -> HttpResponse | None:
    """Be the action of a list: lead to the confirmation of a directive for each of the selected records."""
    permissions.require(request.user, "request", name)
    ids = [str(pk) for pk in queryset.values_list("pk", flat=True)[: requests.MAX_BATCH + 1]]
    if len(ids) > requests.MAX_BATCH:
        text = f"Expected at most {requests.MAX_BATCH:,} at once. Narrow the list by filters or a search."
        messages.error(request, text)
        return None
    chosen = QueryDict(mutable=True)
    chosen.update({"subjects": _joined(ids), coming_back.PARAMETER: request.get_full_path()})
    return kept_forms.lead_to(request_url(name), request, chosen, Why.CHOSEN)


@require_GET
def undo(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Lead to the request of the directive that undoes another one."""
    permissions.require_view(request.user, Directive)
    directive = get_object_or_404(Directive, pk=pk)
    inverse = undoing.inverse_of(directive)
    if inverse is None:
        raise Http404("Nothing undoes this directive")
    permissions.require(request.user, "request", inverse)
    back = coming_back.url_of(request.GET)
    url = request_url(inverse, [directive.subject_id], cause=str(directive.pk))
    return redirect(coming_back.with_back(url, back))


@require_GET
def pick(request: HttpRequest, subject_type: str) -> JsonResponse:
    """Return the subjects of a type that match a term, for a picker: their ids and titles."""
    model = registry.subject_model(subject_type)
    if model is None or not tenant_site.is_registered(model):
        raise Http404(f"There is nothing to pick of type {subject_type}")
    permissions.require_view(request.user, model)
    model_admin: Any = tenant_site.get_model_admin(model)
    term = request.GET.get("term", "").replace("\x00", "")
    found, _ = model_admin.get_search_results(request, model_admin.get_queryset(request), term)
    results = [{"id": str(record.pk), "text": visible(str(record))} for record in found[:20]]
    return JsonResponse({"results": results, "pagination": {"more": False}})


def request_url(name: str, ids: Iterable[str] = (), **extra: str) -> str:
    """Return the address of the page that requests a directive for the subjects with `ids`."""
    url = reverse("admin:directives_directive_request_type", args=[name])
    query = {"subjects": _joined(ids), **extra}
    return f"{url}?{urlencode(query)}" if query["subjects"] else url


def _request(request: HttpRequest, form: RequestForm, asked: _Asked) -> HttpResponse:
    batch_id = str(form.cleaned_data["batch"])
    try:
        refused = requests.request_batch(
            batch_id,
            form.handler.name,
            asked.payloads(form),
            actor=permissions.actor_of(request.user),
            reason=form.cleaned_data["reason"],
            scheduled_at=form.scheduled_at,
            causation_id=str(asked.cause.pk) if asked.cause else None,
        )
    except Refused as refusal:
        return kept_forms.lead_to(request.path, request, form.renewed(), Why.SENT, refusal.messages)
    for one in (refused or [])[:MAX_REFUSALS_SHOWN]:
        messages.error(request, str(one))
    back = coming_back.url_of(request.POST)
    return redirect(
        coming_back.with_back(reverse("admin:directives_directive_batch", args=[batch_id]), back)
    )


def _try_out(request: HttpRequest, form: RequestForm, payloads: list[dict[str, Any]]) -> dict[str, Any]:
    """Execute the first few and roll them back; return what the page shows of that."""
    _require_view(request, form.handler)
    actor = permissions.actor_of(request.user)
    runs: list[DryRun] = []
    try:
        for payload in payloads[:MAX_TRIED]:
            runs.append(
                dry_run(form.handler.name, payload, actor=actor, reason=form.cleaned_data["reason"])
            )
    except Refused as refusal:
        form.add_refusal(refusal)
    return {"dry_runs": runs, "records": labels.records(request.user, [run.subject for run in runs])}


def _require_view(request: HttpRequest, handler: AnyHandler) -> None:
    """Refuse to try out what would show something of records that the user may not view."""
    for subject_type in sorted({handler.subject_type, *handler.references().values()} - {""}):
        if model := registry.subject_model(subject_type):
            permissions.require_view(request.user, model)


def requestable(user: Any) -> list[AnyHandler]:
    """Return the directive types that the user may request."""
    return [handler for handler in registry.handlers() if permissions.allows(user, "request", handler.name)]


def _cause(request: HttpRequest, given: QueryDict) -> Directive | None:
    """Return the directive that a request says it undoes, if there is one with that id.

    Raises:
        PermissionRefused: the user may not view directives, and would learn of one.
    """
    pk = parse_uuid(given.get("cause", ""))
    if pk:
        permissions.require_view(request.user, Directive)
    return Directive.objects.filter(pk=pk).first() if pk else None


def _joined(ids: Iterable[str]) -> str:
    """Return ids as one text, whatever characters they are made of."""
    return ",".join(quote(pk, safe=" ") for pk in ids)


def _keys(subject_type: str, text: str) -> list[Any]:
    """Return the primary keys of the ids that `_joined` made a text of, each once, without what is none."""
    found = [registry.subject_key(subject_type, unquote(part)) for part in text.split(",")]
    return list(dict.fromkeys(key for key in found if key not in (None, "")))
