"""Subjects with primary keys of any kind: requested, tried, picked, linked, or refused at the start."""

import json
import re
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, NewType
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import ImproperlyConfigured
from model_bakery import baker

from directives import registry, runner
from directives.display import labels
from directives.handlers import DirectivePayload, Handler, Reference
from directives.models import Directive
from directives.registry import _problems, register
from directives.requesting.dry_run import dry_run
from fleetprompt.postgres.primary_keys import parse_uuid, primary_key, python_type
from fleetprompt.tenants.context import in_tenant
from forums.models import Post
from signals.types import Subject, stored_subject
from tests.admin import client_of
from tests.library.models import Atlas, Book, Day, Minute, Shelf
from tests.support import TESTER, ask, run

KINDS = MappingProxyType(
    {
        "library.book.withdraw": (Book, {"id": 2**40, "title": "Moby Dick"}),
        "library.atlas.unfold": (Atlas, {"title": "The World"}),
        "library.shelf.dust": (Shelf, {"name": "a,b/c d_2F%"}),
        "library.day.close": (Day, {"date": date(2030, 1, 31)}),
    }
)


@pytest.fixture(params=KINDS)
def record(database, request):
    """A record of each kind, and the name of a directive about it."""
    model, fields = KINDS[request.param]
    with in_tenant("alpha"):
        return baker.make(model, **fields), request.param


def payload_of(record, name):
    value = record.pk if isinstance(record.pk, int) else str(record.pk)
    return {registry.get(name).subject_field: value}


def test_it_is_requested_executed_and_tried_out(record):
    record, name = record
    with in_tenant("alpha"):
        payload, becomes = payload_of(record, name), registry.get(name).becomes
        tried = dry_run(name, payload, actor=TESTER)
        assert not tried.error
        assert ("status", "open", becomes) in tried.differences
        directive = ask(name, payload).directive
        assert directive.subject == Subject(record.SUBJECT_TYPE, str(record.pk))
        assert run(directive).kind == "succeeded", directive.last_error
        record.refresh_from_db()
        assert record.status == becomes


def test_it_is_looked_up_by_its_id(record):
    record, _ = record
    subject = registry.subject_of(record)
    with in_tenant("alpha"):
        assert registry.subject_records([subject]) == {subject: record}
        assert registry.subject_values(subject.type, [subject.id], "status") == {subject.id: "open"}
        revisions = {subject.id: 1} if isinstance(record, Shelf) else {}
        assert registry.subject_values(subject.type, [subject.id], "revision") == revisions
        for nothing in ("", "no such", "9" * 30, "x" * 300, str(uuid4()), "a\x00", "\ud800"):
            assert registry.subject_records([stored_subject(subject.type, nothing)]) == {}
            assert registry.subject_values(subject.type, [nothing], "status") == {}


def test_its_pages_link_to_each_other(record):
    record, name = record
    client = client_of("root", superuser=True)
    with in_tenant("alpha"):
        directive = ask(name, payload_of(record, name)).directive
        run(directive)
    url = labels.record_url(record)
    page = client.get(url)
    assert page.status_code == 200
    assert f"/admin/directives/directive/{directive.pk}/change/" in page.content.decode()
    assert client.get(page.context["history_url"]).status_code == 200
    assert url in client.get(f"/admin/directives/directive/{directive.pk}/change/").content.decode()
    button = page.context["request_buttons"][0] if page.context["request_buttons"] else None
    if button:
        assert client.get(button["url"]).context["selection"]["ids"] == [str(record.pk)]


def test_the_picker_finds_it_and_the_form_takes_it(record):
    record, name = record
    client = client_of("root", superuser=True)
    picked = client.get(f"/admin/directives/directive/pick/{record.SUBJECT_TYPE}/", {"term": ""})
    assert json.loads(picked.content)["results"] == [{"id": str(record.pk), "text": str(record)}]
    path = f"/admin/directives/directive/request/{name}/"
    field = f"payload_{registry.get(name).subject_field}"
    fields = {field: str(record.pk), "batch": str(uuid4()), "reason": "Because", "when": "now"}
    shown = client.post(path, {**fields, "reason": "", "confirm": "request"}, follow=True)
    assert list(shown.context["form"].errors) == ["reason"]
    assert f'<option value="{record.pk}" selected' in shown.content.decode()
    tried = client.post(path, {**fields, "confirm": "dry_run"}, follow=True)
    assert [one.error for one in tried.context["dry_runs"]] == [""]
    assert client.post(path, {**fields, "confirm": "request"}).status_code == 302
    for nothing in ("no such", "99999999999999999999", "1.5", "\x00"):
        answer = client.post(path, {**fields, field: nothing, "confirm": "request"}, follow=True)
        assert list(answer.context["form"].errors) == [field]
    with in_tenant("alpha"):
        assert Directive.objects.get().subject_id == str(record.pk)


def test_a_selection_in_its_list_is_confirmed_tried_out_and_requested(record):
    record, name = record
    client = client_of("root", superuser=True)
    meta = record._meta
    data = {"action": f"request:{name}", "_selected_action": [str(record.pk)], "index": "0"}
    shown = client.post(f"/admin/{meta.app_label}/{meta.model_name}/", data, follow=True)
    [given] = re.findall(r'name="subjects" value="([^"]*)"', shown.content.decode())
    fields = {"subjects": given, "batch": str(uuid4()), "reason": "Because", "when": "now"}
    path = f"/admin/directives/directive/request/{name}/"
    tried = client.post(path, {**fields, "confirm": "dry_run"}, follow=True)
    assert [one.error for one in tried.context["dry_runs"]] == [""]
    assert client.post(path, {**fields, "confirm": "request"}).status_code == 302
    with in_tenant("alpha"):
        [outcome] = runner.run_due()
        assert outcome.kind == "succeeded"
        assert Directive.objects.get().subject_id == str(record.pk)


def test_an_integer_in_another_form_is_the_same_selection(database):
    with in_tenant("alpha"):
        book = baker.make(Book)
    client = client_of("root", superuser=True)
    page = client.get(
        "/admin/directives/directive/request/library.book.withdraw/",
        {"subjects": f"{book.pk},0{book.pk}, {book.pk},x,,-"},
    )
    assert page.context["selection"]["ids"] == [str(book.pk)]


def test_what_was_done_to_a_book_can_be_undone_from_its_page(database):
    client = client_of("root", superuser=True)
    with in_tenant("alpha"):
        book = baker.make(Book)
        directive = ask("library.book.withdraw", {"book_id": book.pk}).directive
        run(directive)
    operations = "/admin/directives/directive/operate"
    page = client.get(f"/admin/directives/directive/{directive.pk}/change/")
    assert f"{operations}/undo/?id={directive.pk}" in page.content.decode()
    fields = {"_selected_action": str(directive.pk), "token": str(uuid4()), "reason": "a mistake"}
    assert client.post(f"{operations}/undo/", fields).status_code == 302
    with in_tenant("alpha"):
        assert Directive.objects.get(name="library.book.restore").subject_id == str(book.pk)


@pytest.mark.parametrize(
    ("model", "kind"), [(Book, int), (Atlas, int), (Shelf, str), (Day, date), (Post, UUID), (Minute, None)]
)
def test_the_kind_of_a_key(model, kind):
    assert python_type(model) is kind


def test_another_form_of_a_key_means_the_same_and_has_one_form():
    post = uuid4()
    assert str(primary_key(Post, str(post).upper())) == str(primary_key(Post, post.hex)) == str(post)
    assert str(primary_key(Book, "007")) == "7"
    assert str(primary_key(Day, "20300131")) == "2030-01-31"
    assert primary_key(Minute, "2030-01-31T00:00Z") is None


def handler_about(annotation):
    payload = type("Payload", (DirectivePayload,), {"__annotations__": {"about": annotation}})
    fields = {"name": "test.thing.do", "label": "Do", "Payload": payload, "execute": lambda *_: {}}
    return type("Do", (Handler,), {**fields, "subject_field": "about"})


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Annotated[UUID, Reference("library.book")], "expected int, as the primary key of library.book"),
        (Annotated[str, Reference("library.book")], "expected int"),
        (Annotated[bool, Reference("library.book")], "expected int"),
        (Annotated[Decimal, Reference("library.book")], "expected int"),
        (Annotated[int, Reference("library.atlas")], ""),
        (Annotated[NewType("Id", int), Reference("library.book")], ""),
        (Annotated[int | None, Reference("library.book")], ""),
        (Annotated[str, Reference("forum.post")], "expected UUID"),
        (Annotated[list[UUID], Reference("forum.post")], "expected UUID"),
        (Annotated[date, Reference("library.day")], ""),
        (Annotated[datetime, Reference("library.day")], "expected date"),
        (Annotated[datetime, Reference("library.minute")], "library.minute is a DateTimeField"),
        (Annotated[int, Reference("of.nobody")], ""),
    ],
)
def test_what_no_key_can_be_is_refused_at_the_start_in_one_sentence(annotation, expected):
    if not expected:
        assert list(_problems(handler_about(annotation))) == []
        return
    with pytest.raises(ImproperlyConfigured, match=rf"Do: Payload\.about: .*{expected}") as refused:
        register(handler_about(annotation))
    assert "\n" not in str(refused.value)


def test_a_handler_whose_subject_is_left_out_is_about_nothing():
    handler = handler_about(Annotated[int | None, Reference("library.book")])
    handler.Payload.model_fields["about"].default = None
    handler.Payload.model_rebuild(force=True)
    assert handler().subject(handler().parse({})) is None


def test_a_uuid_is_parsed_in_its_forms_and_nothing_else_is():
    pk = uuid4()
    assert {parse_uuid(form) for form in (pk, str(pk), pk.hex, str(pk).upper(), pk.urn)} == {pk}
    assert {parse_uuid(other) for other in ("", "7", None, 7, [str(pk)], f"{pk}0", "\x00", "\ud800")} == {
        None
    }
