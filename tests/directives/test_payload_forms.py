"""Forms made from payload models: each field's type, what was typed as JSON, refusals at their fields."""

from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Annotated, Literal
from uuid import UUID, uuid4

import pytest
from django import forms
from django.contrib.auth.models import User
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_bakery import baker
from pydantic import BaseModel, Field

from directives import registry
from directives.admin.forms import JSONField, SubjectField, payload_form
from directives.errors import InvalidPayload
from directives.handlers import DirectivePayload, Handler, Reference
from fleetprompt.tenants.context import in_tenant
from tests.support import make_forum


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Inner(BaseModel):
    depth: int


class EveryKind(DirectivePayload):
    thread_id: Annotated[UUID, Reference("forum.thread")] = Field(description="Which thread.")
    other_id: UUID | None = None
    line: str = Field(max_length=50)
    text: str = ""
    number: int = Field(ge=1, le=9)
    share: float = 0.5
    loud: bool = False
    day: date | None = None
    moment: datetime | None = None
    colour: Colour = Colour.RED
    size: Literal[1, 2] = 1
    inner: Inner | None = None
    tags: list[str] = []
    when: str = Field("then", max_length=10)
    batch: str = Field("mine", max_length=10)


class Every(Handler[EveryKind]):
    """Takes every kind of field."""

    name, label, Payload, subject_field = "test.every.kind", "Every kind", EveryKind, "thread_id"

    def execute(self, context, payload):
        return {}


@pytest.mark.parametrize("typed", [" ", "\x85", "\x00", "x" * 300, "\ud800"])
def test_what_is_no_id_is_shown_again_as_nothing_chosen(thread, typed):
    form = payload_form(Every())({"payload_thread_id": typed})
    assert not form.is_valid()
    assert "payload_thread_id" in form.errors
    assert "selected" not in str(form["payload_thread_id"])


@pytest.fixture
def thread(alpha):
    return make_forum().thread


def fill(handler, payload, **common):
    """Return the bound form, with what every request needs filled in."""
    data = {"reason": "Why not", "when": "now", "batch": str(uuid4()), **common}
    data.update({f"payload_{name}": value for name, value in payload.items()})
    return payload_form(handler)(data, user=baker.prepare(User, is_superuser=True))


def every(thread, **payload):
    return fill(Every(), {"thread_id": str(thread.pk), "line": "x", "number": "3", **payload})


def test_each_field_has_the_widget_of_its_type(alpha):
    fields = payload_form(Every()).base_fields
    kinds = {
        name: type(fields[f"payload_{name}"])
        for name in EveryKind.model_fields
        if name not in ("reason", "subject")
    }
    assert kinds == {
        "expected_revision": forms.IntegerField,
        "thread_id": SubjectField,
        "other_id": forms.UUIDField,
        "line": forms.CharField,
        "text": forms.CharField,
        "number": forms.IntegerField,
        "share": forms.FloatField,
        "loud": forms.BooleanField,
        "day": forms.DateField,
        "moment": forms.DateTimeField,
        "colour": forms.TypedChoiceField,
        "size": forms.TypedChoiceField,
        "inner": JSONField,
        "tags": JSONField,
        "when": forms.CharField,
        "batch": forms.CharField,
    }
    assert fields["payload_thread_id"].help_text == "Which thread."
    assert fields["payload_thread_id"].label == "Thread"
    assert isinstance(fields["payload_line"].widget, forms.TextInput)
    assert isinstance(fields["payload_text"].widget, forms.Textarea)


def test_required_fields_come_first(alpha):
    names = [bound.name for bound in payload_form(Every())().payload_fields]
    assert names[:3] == ["payload_thread_id", "payload_line", "payload_number"]


def test_what_was_filled_in_is_a_payload_that_the_handler_takes(thread):
    other = uuid4()
    form = every(
        thread,
        other_id=str(other),
        text="two\nlines ",
        share="0.25",
        loud="on",
        day="2030-01-31",
        moment="2030-01-31T09:00",
        colour="blue",
        size="2",
        inner='{"depth": 3}',
        tags='["a"]',
        when="now",
        batch="b",
    )
    assert form.is_valid(), form.errors
    parsed = Every().parse(form.payload())
    assert parsed == EveryKind(
        thread_id=thread.pk,
        other_id=other,
        line="x",
        text="two\nlines ",
        number=3,
        share=0.25,
        loud=True,
        day=date(2030, 1, 31),
        moment=datetime(2030, 1, 31, 9, tzinfo=UTC),
        colour=Colour.BLUE,
        size=2,
        inner=Inner(depth=3),
        tags=["a"],
        when="now",
        batch="b",
    )


def test_what_is_left_empty_gets_the_models_own_default(thread):
    form = every(thread, colour="red", size="1", share="", when="", batch="")
    assert form.is_valid(), form.errors
    assert Every().parse(form.payload()) == EveryKind(thread_id=thread.pk, line="x", number=3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("thread_id", ""),
        ("thread_id", "rubbish"),
        ("thread_id", str(UUID(int=5))),
        ("line", "x" * 51),
        ("line", "a\x00b"),
        ("number", "0"),
        ("number", "ten"),
        ("share", "much"),
        ("day", "31.31.2030"),
        ("moment", "soon"),
        ("colour", "green"),
        ("size", "3"),
        ("inner", "{"),
        ("inner", "[" * 20_000),
        ("inner", '{"a": "\ud800"}'),
        ("inner", '{"a": ' + "9" * 5000 + "}"),
        ("tags", '["a\\u0000"]'),
        ("other_id", "x"),
    ],
)
def test_a_bad_value_is_refused_at_its_field(thread, field, value):
    form = every(thread, **{field: value})
    assert not form.is_valid()
    assert list(form.errors) == [f"payload_{field}"]
    assert str(form).encode()


def test_what_the_model_refuses_is_shown_at_the_field_it_names(thread):
    form = every(thread, inner='{"depth": "deep"}')
    assert form.is_valid()
    with pytest.raises(InvalidPayload) as refusal:
        Every().parse(form.payload())
    form.add_refusal(refusal.value)
    assert form.errors["payload_inner"] == ["depth: expected a whole number"]


def test_another_tenants_record_cannot_be_picked(database):
    with in_tenant("beta"):
        foreign = make_forum().thread
    with in_tenant("alpha"):
        make_forum()
        assert "payload_thread_id" in every(foreign).errors


def test_the_picked_record_is_shown_by_its_title(thread):
    assert f'<option value="{thread.pk}" selected>Welcome</option>' in str(
        every(thread)["payload_thread_id"]
    )


def test_a_reason_is_required_and_bounded(thread):
    for reason in ("", "   ", "x" * 1001, "a\x00"):
        form = fill(Every(), {"thread_id": str(thread.pk), "line": "x", "number": "3"}, reason=reason)
        assert list(form.errors) == ["reason"]


@pytest.mark.parametrize(
    ("when", "at", "wrong"),
    [
        ("now", "", []),
        ("later", "", ["at"]),
        ("later", "2001-01-01T00:00", ["at"]),
        ("later", "rubbish", ["at"]),
        ("later", "2999-01-01T00:00", []),
        ("never", "", ["when"]),
    ],
)
def test_later_needs_a_time_to_come(thread, when, at, wrong):
    form = fill(Every(), {"thread_id": str(thread.pk), "line": "x", "number": "3"}, when=when, at=at)
    assert list(form.errors) == wrong


def test_a_time_is_meant_in_the_persons_zone(thread):
    with timezone.override("Asia/Kathmandu"):
        form = fill(
            Every(),
            {"thread_id": str(thread.pk), "line": "x", "number": "3"},
            when="later",
            at="2999-01-01T05:45",
        )
        assert form.is_valid()
        assert form.scheduled_at == datetime(2999, 1, 1, tzinfo=UTC)
        assert "Asia/Kathmandu" in form.fields["at"].help_text


def test_now_ignores_a_time_that_is_left_over(thread):
    later = (timezone.now() + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")
    form = fill(Every(), {"thread_id": str(thread.pk), "line": "x", "number": "3"}, at=later)
    assert form.is_valid()
    assert form.scheduled_at is None


@pytest.mark.parametrize("handler", registry.handlers(), ids=lambda handler: handler.name)
def test_every_registered_directive_has_a_form(alpha, handler):
    form = payload_form(handler)()
    assert {bound.name.removeprefix("payload_") for bound in form.payload_fields} == set(
        handler.Payload.model_fields
    ) - {"reason", "subject"}
    assert str(form)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.dictionaries(
        st.sampled_from(sorted(EveryKind.model_fields)), st.text(max_size=30), max_size=8
    )
)
def test_whatever_is_typed_is_refused_or_becomes_json(thread, values):
    form = every(thread, **values)
    if form.is_valid():
        try:
            Every().parse(form.payload())
        except InvalidPayload as refusal:
            form.add_refusal(refusal)
            assert form.errors
    assert str(form)
