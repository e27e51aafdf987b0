"""Forms made from payload models: a typed field for each of the payload's, by its JSON Schema."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID, uuid4

from django import forms
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput
from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone
from unfold import widgets

from directives import registry
from directives.display import labels
from directives.models import REASON_LENGTH
from directives.registry import AnyHandler
from fleetprompt.errors import Refused
from fleetprompt.web.timezone import ZonedForm
from signals.types import LATEST, Subject, is_storable, json_object, stored_subject

MAX_ONE_LINE = 255
"""Texts that may be longer get a field of several lines."""
OF_EVERY_PAYLOAD = ("reason", "subject")
"""Fields of every payload that the form asks for in another way, or not at all."""
PREFIX = "payload_"
"""Before the names of the payload's fields in the form, so that none is mistaken for the form's own."""
_PAYLOAD_FIELD = re.compile(r"payload\.(\w+)\.?(.*)")
"""A field of the payload, and the place within its value."""


class RequestForm(ZonedForm):
    """What every request needs besides its payload: why, when, and a number for the batch.

    `payload_form` adds the fields of one directive's payload.

    Args:
        user: fills it in, and sees the titles of what they may view; an anonymous one by default.
    """

    handler: AnyHandler

    reason = forms.CharField(
        max_length=REASON_LENGTH,
        widget=widgets.UnfoldAdminTextareaWidget({"rows": 3}),
        help_text="Why, for the record. Everybody who may see the directive reads it.",
    )
    when = forms.ChoiceField(
        choices=[("now", "Now"), ("later", "Later")],
        initial="now",
        widget=widgets.UnfoldAdminSelectWidget(),
    )
    at = forms.DateTimeField(
        label="At",
        required=False,
        widget=widgets.UnfoldAdminTextInputWidget({"type": "datetime-local"}),
    )
    batch = forms.UUIDField(initial=uuid4, widget=forms.HiddenInput())

    def __init__(self, *args: Any, user: Any = None, **options: Any) -> None:
        super().__init__(*args, **options)
        mark_required(self)
        for name, field in self.fields.items():
            if isinstance(field, SubjectField):
                field.user = user or AnonymousUser()
            if isinstance(field, forms.DateTimeField):
                about = "Not before this time." if name == "at" else field.help_text
                field.help_text = f"{about} In your time zone, {self.shown_zone}.".strip()

    def clean(self) -> dict[str, Any]:
        """Check that a time is given when one is needed, and that it is still to come."""
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("when") == "later" and "at" not in self.errors:
            at = cleaned.get("at")
            if at is None:
                self.add_error("at", "Say when, or choose now.")
            elif not timezone.now() < at <= LATEST:
                self.add_error("at", "Expected a time in the future, before the year 9999.")
        return cleaned

    @property
    def scheduled_at(self) -> datetime | None:
        """Not to run before this time; None for now."""
        return self.cleaned_data["at"] if self.cleaned_data["when"] == "later" else None

    def expiry(self, now: datetime) -> datetime | None:
        """Return None: its effect stays."""
        return None

    @property
    def payload_fields(self) -> list[forms.BoundField]:
        """The fields of the payload, in order."""
        return [self[name] for name in self.fields if name.startswith(PREFIX)]

    def payload(self, **extra: Any) -> dict[str, Any]:
        """Return the payload as JSON values, with `extra` fields added; what was left empty is absent."""
        given = {
            bound.name.removeprefix(PREFIX): _plain(value)
            for bound in self.payload_fields
            if (value := self.cleaned_data.get(bound.name)) not in (None, "")
        }
        return {**given, **extra}

    def renewed(self) -> QueryDict:
        """Return what was filled in, with a new number, so that submitting it again is another batch."""
        fields: QueryDict = self.data.copy()  # type: ignore[attr-defined]
        fields["batch"] = str(uuid4())
        return fields

    def add_refusal(self, refusal: ValidationError) -> None:
        """Show why a request was refused, at the fields that it names."""
        for message in refusal.messages:
            path, _, text = message.partition(": ")
            named = _PAYLOAD_FIELD.match(path)
            field, within = (f"{PREFIX}{named[1]}", named[2]) if named else (path, "")
            shown = f"{within}: {text}" if within else text[:1].upper() + text[1:]
            known = text and field in self.fields
            self.add_error(field if known else None, shown if known else message)


class ExpiringForm(RequestForm):
    """For how long, too, for a directive whose effect can end by itself."""

    LENGTHS: ClassVar = {"1h": timedelta(hours=1), "1d": timedelta(days=1), "1w": timedelta(weeks=1)}

    lasts = forms.ChoiceField(
        label="For how long",
        choices=[
            ("", "For good"),
            ("1h", "For an hour"),
            ("1d", "For a day"),
            ("1w", "For a week"),
            ("until", "Until …"),
        ],
        required=False,
        widget=widgets.UnfoldAdminSelectWidget(),
    )
    expires_at = forms.DateTimeField(
        label="Until",
        required=False,
        help_text="It then ends by itself.",
        widget=widgets.UnfoldAdminTextInputWidget({"type": "datetime-local"}),
    )

    def clean(self) -> dict[str, Any]:
        """Check that a time is given when one is chosen, and that it comes after the beginning."""
        cleaned = super().clean()
        lasts, until = cleaned.get("lasts"), cleaned.get("expires_at")
        if "expires_at" in self.errors or "lasts" in self.errors:
            return cleaned
        if lasts != "until" and until:
            self.add_error("expires_at", "Choose “Until …”, or leave this empty.")
        elif lasts == "until" and until is None:
            self.add_error("expires_at", "Say until when, or choose for good.")
        elif until and not self._begins(cleaned) < until <= LATEST:
            self.add_error("expires_at", "Expected a time after it begins, before the year 9999.")
        return cleaned

    def expiry(self, now: datetime) -> datetime | None:
        """Return when its effect is to end, if it begins now or later; None when it is to stay."""
        lasts = self.cleaned_data["lasts"]
        if length := self.LENGTHS.get(lasts):
            return (self.scheduled_at or now) + length
        return self.cleaned_data["expires_at"] if lasts == "until" else None

    @staticmethod
    def _begins(cleaned: Mapping[str, Any]) -> datetime:
        at = cleaned.get("at") if cleaned.get("when") == "later" else None
        return at or timezone.now()


def mark_required(form: forms.BaseForm) -> None:
    """Say of each field that must be filled in, and is empty at first, that it is required."""
    for field in form.fields.values():
        if field.required and field.initial is None:
            field.widget.attrs["aria-required"] = "true"


class SubjectField(forms.CharField):
    """The id of a subject, picked by its title.

    Args:
        subject_type: such as `forum.post`.
    """

    user: Any
    """The reader, set by the form."""

    def __init__(self, subject_type: str, **options: Any) -> None:
        self.subject_type = subject_type
        url = reverse("admin:directives_directive_pick", args=[subject_type])
        super().__init__(strip=False, widget=_Picker({"data-ajax--url": url}), **options)

    def clean(self, value: Any) -> Any:
        """Return the primary key of a subject that exists in the active tenant; None without a choice."""
        text = super().clean(value)
        if not text:
            return None
        for record in registry.subject_records(self._chosen(text)).values():
            return record.pk
        raise ValidationError("There is none with this id here.")

    def prepare_value(self, value: Any) -> Any:
        """Return the value to show, and give the widget its title as the only choice."""
        records = labels.records(self.user, self._chosen(str(value)))
        self.widget.choices = [(subject.id, labels.title(subject, records)) for subject in records]
        return next((subject.id for subject in records), value)

    def _chosen(self, text: str) -> list[Subject]:
        """Return the subject that has the primary key that a text means, if it means one."""
        key = registry.subject_key(self.subject_type, text)
        subject = None if key is None else stored_subject(self.subject_type, str(key))
        return [subject] if subject else []


class JSONField(forms.JSONField):
    """JSON that Python and PostgreSQL can both hold."""

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Return what was typed, to show it again as it was; what cannot be shown is left out."""
        return InvalidJSONInput(data if data and is_storable(data) else "")

    def to_python(self, value: Any) -> Any:
        """Return the value.

        Raises:
            ValidationError: it is no JSON, nested too deeply, or holds what no text may.
        """
        try:
            found = super().to_python(value)
            json_object("value", {"": found})
        except (RecursionError, ValueError, Refused):
            raise ValidationError("Expected JSON, not nested too deeply.") from None
        return found


class _Picker(widgets.UnfoldAdminAutocompleteWidget):
    option_template_name = "django/forms/widgets/select_option.html"


def payload_form(handler: AnyHandler, *, leave_out: Iterable[str] = ()) -> type[RequestForm]:
    """Return the form for requesting a directive.

    Args:
        leave_out: fields of the payload that are known already, such as the subject's id.
    """
    schema = handler.Payload.model_json_schema()
    hidden = {*OF_EVERY_PAYLOAD, *leave_out}
    fields = {
        f"{PREFIX}{name}": _field(
            handler, name, _resolved(part, schema), required=name in schema.get("required", ())
        )
        for name, part in schema["properties"].items()
        if name not in hidden
    }
    # What must be filled in comes first.
    fields = dict(sorted(fields.items(), key=lambda item: not item[1].required))
    base = ExpiringForm if handler.can_expire else RequestForm
    return type("PayloadForm", (base,), {**fields, "handler": handler})


def _field(handler: AnyHandler, name: str, schema: Mapping[str, Any], *, required: bool) -> forms.Field:
    common = {
        "required": required,
        "initial": schema.get("default"),
        "label": name.replace("_", " ").capitalize(),
        "help_text": schema.get("description", ""),
    }
    if subject_type := handler.references().get(name):
        common["label"] = common["label"].removesuffix(" id")
        return SubjectField(subject_type, **common)
    if "enum" in schema or "const" in schema:
        return _choice(schema.get("enum") or [schema["const"]], common)
    make = _BY_TYPE.get(str(schema.get("format")), _BY_TYPE.get(str(schema.get("type")), _json))
    return make(schema, common)


def _resolved(schema: Mapping[str, Any], whole: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of a value without the indirections of references and of "or null"."""
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    inner = options[0] if len(options) == 1 else schema
    if reference := inner.get("$ref"):
        inner = whole["$defs"][reference.rpartition("/")[2]]
    return {**inner, **{key: schema[key] for key in ("default", "description") if key in schema}}


def _text(schema: Mapping[str, Any], common: dict[str, Any]) -> forms.Field:
    longest = schema.get("maxLength")
    one_line = longest is not None and longest <= MAX_ONE_LINE
    widget = (
        widgets.UnfoldAdminTextInputWidget() if one_line else widgets.UnfoldAdminTextareaWidget({"rows": 5})
    )
    return forms.CharField(
        max_length=longest, min_length=schema.get("minLength"), strip=False, widget=widget, **common
    )


def _boolean(schema: Mapping[str, Any], common: dict[str, Any]) -> forms.Field:
    # A box that must be ticked could never say no.
    return forms.BooleanField(widget=widgets.UnfoldBooleanWidget(), **{**common, "required": False})


_LIMITS = {"minimum": "min_value", "maximum": "max_value"}


def _simple(
    field: type[forms.Field], widget: type[forms.Widget], attributes: dict[str, str] | None = None
) -> Callable[[Mapping[str, Any], dict[str, Any]], forms.Field]:
    """Return what makes a field of a class, with a widget that has these attributes."""

    def make(schema: Mapping[str, Any], common: dict[str, Any]) -> forms.Field:
        limits = {_LIMITS[key]: value for key, value in schema.items() if key in _LIMITS}
        return field(widget=widget(attributes), **limits, **common)

    return make


def _json(schema: Mapping[str, Any], common: dict[str, Any]) -> forms.Field:
    common["help_text"] = f"{common['help_text']} Written as JSON.".strip()
    return JSONField(widget=widgets.UnfoldAdminTextareaWidget(), **common)


def _choice(values: Iterable[Any], common: dict[str, Any]) -> forms.Field:
    by_text = {str(value): value for value in values}
    choices = [(text, text) for text in by_text]
    if not common["required"] and common["initial"] is None:
        choices = [("", "–"), *choices]
    return forms.TypedChoiceField(
        choices=choices, coerce=by_text.get, widget=widgets.UnfoldAdminSelectWidget(), **common
    )


_TEXT_INPUT = widgets.UnfoldAdminTextInputWidget
_BY_TYPE = {
    "string": _text,
    "integer": _simple(forms.IntegerField, widgets.UnfoldAdminIntegerFieldWidget),
    "number": _simple(forms.FloatField, widgets.UnfoldAdminDecimalFieldWidget, {"step": "any"}),
    "boolean": _boolean,
    "uuid": _simple(forms.UUIDField, widgets.UnfoldAdminUUIDInputWidget),
    "date-time": _simple(forms.DateTimeField, _TEXT_INPUT, {"type": "datetime-local"}),
    "date": _simple(forms.DateField, _TEXT_INPUT, {"type": "date"}),
}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value
