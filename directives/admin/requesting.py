"""Requesting in the admin: choosing a type, filling its form, confirming a selection, trying it out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from django.contrib import messages
from django.core.cache import cache
from django.core.exceptions import BadRequest
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from directives import registry, requests
from directives.admin import pages, selection, since
from directives.admin.forms import PREFIX, RequestForm, payload_form
from directives.authority import permissions
from directives.display import labels
from directives.errors import Refused
from directives.lifting import RestrictionHandler
from directives.models import Directive, Restriction
from directives.registry import AnyHandler
from directives.requesting.dry_run import DryRun, dry_run
from directives.restricting.values import END, RESCHEDULE
from fleetprompt.postgres.primary_keys import parse_uuid
from fleetprompt.sites import tenant_site
from fleetprompt.visible import visible
from fleetprompt.web import coming_back, kept_forms
from fleetprompt.web.kept_forms import Kept, Why

MAX_REFUSALS_SHOWN = 10
"""How many refusals are told one by one."""
MAX_TRIED = 5
"""How many of a selection are tried out."""
SUBMITTED_SECONDS = 24 * 3600
"""How long it is known when a form was first submitted."""


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
    for the subject too. `restriction` is the id of the one to end or to change, `back` the page that the
    person came from.
    """
    handler = registry.find(name)
    if handler is None:
        raise Http404(f"There is no directive {name}")
    permissions.require(request.user, "request", name)
    given = request.POST if request.method == "POST" else request.GET
    if pk := parse_uuid(given.get("cause", "")):
        # A page of a former version asks to undo something.
        return redirect("admin:directives_directive_undo", pk)
    if restriction := _restriction(handler, given.get("restriction", "")):
        permissions.require(request.user, "request", restriction.name)
    if request.method == "POST":
        return _answer(request, _Asked(handler, request.POST))
    try:
        kept = kept_forms.restore(request)
    except kept_forms.Gone:
        return kept_forms.start_again(request, labels.list_url(handler.subject_type) or request.path)
    return _show(request, _Asked(handler, kept.fields if kept else request.GET), kept)


class _Asked:
    """What the fields of a form, or the parameters of an address, ask for.

    It is about the subjects with `ids`, about one `restriction`, or, without any, about what the form asks
    for. `seen` are the revisions of the subjects that the page showed.
    """

    def __init__(self, handler: AnyHandler, given: QueryDict) -> None:
        self.handler, self.given = handler, given
        self.keys = _keys(handler.subject_type, given.get("subjects", "")) if handler.subject_field else []
        self.ids = [str(key) for key in self.keys]
        self.seen = _revisions(given.get("revisions", ""), self.ids)
        self.restriction = _restriction(handler, given.get("restriction", ""))

    def form(self, user: Any, *, is_filled_in: bool) -> RequestForm:
        """Return the form, filled in with what was given or empty."""
        known: Sequence[str] = ()
        if self.ids:
            known = (self.handler.subject_field, "expected_revision")
        elif self.restriction:
            known = (
                "restriction_id",
                "expected_revision",
                *(["until"] if self.handler.name == END else []),
            )
        form_class = payload_form(self.handler, leave_out=known)
        return form_class(self.given if is_filled_in else None, user=user, initial=self._initial())

    def _initial(self) -> dict[str, Any]:
        """Return what an empty form shows: an end that is moved begins where it is, not with "for good"."""
        known = self.restriction
        if self.handler.name != RESCHEDULE or known is None or known.until is None:
            return {}
        return {f"{PREFIX}until": known.until.replace(microsecond=0)}

    def payloads(self, form: RequestForm) -> list[dict[str, Any]]:
        """Return a payload for each subject.

        Raises:
            Refused: the form names a restriction that does not exist.
        """
        if isinstance(self.handler, RestrictionHandler):
            return [self._about_restriction(form.payload())]
        payloads = [
            form.payload(**{self.handler.subject_field: key if isinstance(key, int) else str(key)})
            for key in self.keys
        ]
        for pk, payload in zip(self.ids, payloads, strict=True):
            if pk in self.seen:
                # The subject may change before it is executed, too.
                payload["expected_revision"] = self.seen[pk]
        return payloads or [form.payload()]

    def obstacles(self, form: RequestForm) -> bool:
        """Return whether something is not as the page showed it, unless this form was requested already."""
        found = _changed(self.handler.subject_type, self.seen) or (
            self.restriction and self.restriction.ended_at
        )
        return bool(found and not _was_requested(form))

    def _about_restriction(self, payload: dict[str, Any]) -> dict[str, Any]:
        known = self.restriction or _find_restriction(payload.get("restriction_id", ""))
        if known is None:
            raise Refused("payload.restriction_id: there is none with this id here")
        about = {"type": known.subject_type, "id": known.subject_id}
        return {**payload, "subject": about, "restriction_id": str(known.pk)}


def _restriction(handler: AnyHandler, text: str) -> Restriction | None:
    """Return the restriction that an address names, if it names one.

    Raises:
        Http404: there is none.
    """
    if not text or not isinstance(handler, RestrictionHandler):
        return None
    found = _find_restriction(text)
    if found is None:
        raise Http404("There is no such restriction")
    return found


def _find_restriction(text: str) -> Restriction | None:
    pk = parse_uuid(text)
    return Restriction.objects.filter(pk=pk).first() if pk else None


def _answer(request: HttpRequest, asked: _Asked) -> HttpResponse:
    """Request what was submitted, or lead back to the form."""
    form = asked.form(request.user, is_filled_in=True)
    if asked.given.get("confirm") == "dry_run":
        _require_view(request, asked)
    elif "confirm" in asked.given and form.is_valid() and not asked.obstacles(form):
        return _request(request, form, asked)
    why = Why.SENT if "confirm" in asked.given else Why.CHOSEN
    return kept_forms.lead_to(request.path, request, asked.given, why)


def _show(request: HttpRequest, asked: _Asked, kept: Kept | None) -> HttpResponse:
    """Show the form: empty, or with what was filled in, what is wrong with that, and what would happen."""
    form = asked.form(request.user, is_filled_in=kept is not None and kept.why != Why.CHOSEN)
    for text in kept.problems if kept else ():
        form.add_refusal(Refused(text))
    kept_forms.tell(request, kept)
    handler, given, ids = asked.handler, asked.given, asked.ids
    changed = _changed(handler.subject_type, asked.seen)
    if changed and form.is_bound and form.is_valid() and _was_requested(form):
        # The page of before, seen again by the browser's Back: its own request made the change.
        changed = []
    context = {
        "title": labels.counted_label(handler.name, len(ids)) if ids else handler.label,
        "handler": handler,
        "form": form,
        "selection": selection.described(handler, ids, request.user) if ids else None,
        "action": request_url(handler.name),
        "subjects": _joined(ids),
        # Of now: the page says what has changed since the one that was sent.
        "revisions": since.drawn(handler.subject_type, ids),
        "changed": len(changed),
        "changes": _changes(request, asked, changed),
        "restriction": asked.restriction and _described(request, asked.restriction),
        "back": coming_back.url_of(given),
        "back_link": coming_back.link(given, labels.list_url(handler.subject_type) if ids else ""),
        "media": form.media,
    }
    is_tried = kept is not None and kept.why == Why.SENT and given.get("confirm") == "dry_run"
    if is_tried and form.is_valid() and not changed:
        context |= _try_out(request, form, asked)
    return pages.show(request, "admin/directives/request.html", context)


def _changes(request: HttpRequest, asked: _Asked, ids: Sequence[str]) -> dict[str, Any] | None:
    """Return what came since a page was drawn, and the records that it is about; None for nothing."""
    if not ids:
        return None
    found = since.changes(request.user, asked.handler.subject_type, ids, asked.seen)
    return {"subjects": found, "records": labels.records(request.user, [one.subject for one in found])}


def _described(request: HttpRequest, restriction: Restriction) -> dict[str, Any]:
    """Return what the page shows of the restriction that it is about."""
    may_view = permissions.may_view(request.user, Directive)
    ids = [pk for pk in (restriction.directive_id, restriction.ended_by) if pk] if may_view else []
    directives = Directive.objects.in_bulk(ids)
    return {
        "row": restriction,
        "set_by": directives.get(restriction.directive_id),
        "ended_by": restriction.ended_by and directives.get(restriction.ended_by),
        "may_view": may_view,
        "subject": labels.subject_link(
            restriction.subject, labels.records(request.user, [restriction.subject])
        ),
    }


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
    # A second submit counts from the same moment: it asks for the same.
    key, now = f"submitted:{request.user.pk}:{batch_id}", timezone.now()
    first = cache.get_or_set(key, now, SUBMITTED_SECONDS) or now
    try:
        refused = requests.request_batch(
            batch_id,
            form.handler.name,
            asked.payloads(form),
            actor=permissions.actor_of(request.user),
            reason=form.cleaned_data["reason"],
            scheduled_at=form.scheduled_at,
            expires_at=form.expiry(first),
        )
    except Refused as refusal:
        return kept_forms.lead_to(request.path, request, form.renewed(), Why.SENT, refusal.messages)
    for one in (refused or [])[:MAX_REFUSALS_SHOWN]:
        messages.error(request, str(one))
    back = coming_back.url_of(request.POST)
    return redirect(
        coming_back.with_back(reverse("admin:directives_directive_batch", args=[batch_id]), back)
    )


def _try_out(request: HttpRequest, form: RequestForm, asked: _Asked) -> dict[str, Any]:
    """Execute the first few and roll them back; return what the page shows of that."""
    _require_view(request, asked)
    actor, expires_at = permissions.actor_of(request.user), form.expiry(timezone.now())
    runs: list[DryRun] = []
    try:
        for payload in asked.payloads(form)[:MAX_TRIED]:
            reason = form.cleaned_data["reason"]
            runs.append(
                dry_run(form.handler.name, payload, actor=actor, reason=reason, expires_at=expires_at)
            )
    except Refused as refusal:
        form.add_refusal(refusal)
    return {"dry_runs": runs, "records": labels.records(request.user, [run.subject for run in runs])}


def _require_view(request: HttpRequest, asked: _Asked) -> None:
    """Refuse to try out what would show something of records that the user may not view."""
    handler, about = asked.handler, asked.restriction
    types = {handler.subject_type, *handler.references().values(), about.subject_type if about else ""}
    for subject_type in sorted(types - {""}):
        if model := registry.subject_model(subject_type):
            permissions.require_view(request.user, model)


def requestable(user: Any) -> list[AnyHandler]:
    """Return the directive types that the user may request."""
    return [handler for handler in registry.handlers() if permissions.allows(user, "request", handler.name)]


def _joined(ids: Iterable[str]) -> str:
    """Return ids as one text, whatever characters they are made of."""
    return ",".join(quote(pk, safe=" ") for pk in ids)


def _keys(subject_type: str, text: str) -> list[Any]:
    """Return the primary keys of the ids that `_joined` made a text of, each once, without what is none."""
    found = [registry.subject_key(subject_type, unquote(part)) for part in text.split(",")]
    return list(dict.fromkeys(key for key in found if key not in (None, "")))


def _revisions(text: str, ids: Sequence[str]) -> dict[str, int]:
    """Return the revisions that a form carries, by the subject's id.

    Raises:
        BadRequest: there is not one for each subject, or one is no number.
    """
    parts = text.split(",") if text else []
    if not parts:
        return {}
    if len(parts) != len(ids) or not all(part.isascii() and part.isdigit() for part in parts if part):
        raise BadRequest("revisions: expected the number of each subject, or nothing")
    return {pk: int(part) for pk, part in zip(ids, parts, strict=True) if part}


def _was_requested(form: RequestForm) -> bool:
    return requests.find_batch(str(form.cleaned_data["batch"])) is not None


def _changed(subject_type: str, seen: Mapping[str, int]) -> list[str]:
    """Return the ids of those subjects that are at another revision, or gone."""
    now = registry.subject_values(subject_type, seen, "revision") if seen else {}
    return [pk for pk, revision in seen.items() if now.get(pk) != revision]
