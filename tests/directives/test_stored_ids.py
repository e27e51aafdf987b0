"""Rows with ids that can no longer be requested or emitted: they run, and pages show them."""

import pytest

from directives import operations
from directives.models import Directive
from fleetprompt.tenants.context import in_tenant
from signals.models import Signal
from tests.admin import client_of
from tests.support import TESTER, ask, change, make_forum, run

OLD = {
    "correlation_id": "one\ntwo/\x85\u2028?#",
    "causation_id": "a\r\nb",
    "actor_type": "user",
    "actor_id": "001\n\t",
    "actor_label": "",
}


@pytest.fixture
def old(database):
    """A directive that was requested before control characters were refused."""
    with in_tenant("alpha"):
        post = make_forum(1).posts[0]
        directive = ask("forum.post.hide", {"post_id": str(post.pk)}).directive
        change(directive, **OLD, idempotency_key="key\nkey")
        return directive


def test_it_runs_and_passes_its_ids_on(old):
    with in_tenant("alpha"):
        assert run(old).kind == "succeeded", old.last_error
        told = list(Signal.objects.filter(causation_id=str(old.pk)).exclude(name="directive.requested"))
        assert {signal.name for signal in told} >= {"directive.succeeded", "forum.post.hidden"}
        for signal in told:
            assert (signal.correlation_id, signal.actor_id) == (OLD["correlation_id"], OLD["actor_id"])
            assert signal.actor == old.actor
        assert "lost_signals" not in old.metadata


def test_people_can_do_everything_with_it(old):
    with in_tenant("alpha"):
        operations.cancel(old.id, actor=TESTER, reason="no")
        operations.rerun(old.id, actor=TESTER, reason="yes")
        assert run(old).kind == "succeeded"


def test_every_page_shows_it(old):
    client = client_of("root", superuser=True)
    with in_tenant("alpha"):
        run(old)
        signals = list(Signal.objects.filter(causation_id=str(old.pk)).values_list("pk", flat=True))
        post = old.subject_id
    page = client.get(f"/admin/directives/directive/{old.pk}/change/")
    assert page.status_code == 200
    batch = page.context["batch_url"]
    for path in (
        batch,
        "/admin/",
        "/admin/directives/directive/",
        "/admin/signals/signal/",
        *(f"/admin/signals/signal/{pk}/change/" for pk in signals),
        f"/admin/forums/post/{post}/change/",
        f"/admin/forums/post/{post}/history/",
    ):
        assert client.get(path).status_code == 200, path
    assert str(old.pk) in client.get(batch).content.decode()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"correlation_id": "a\nb"}, "correlation_id"),
        ({"causation_id": "a\x85"}, "causation_id"),
        ({"idempotency_key": "a\u2028b"}, "idempotency_key"),
    ],
)
def test_no_more_of_them_are_requested(forum, options, field):
    with pytest.raises(Exception, match=f"{field}: expected no control characters"):
        ask("forum.post.hide", {"post_id": str(forum.posts[0].pk)}, **options)
    assert not Directive.objects.exists()


@pytest.mark.parametrize("field", ["author_id", "client_request_id"])
def test_nor_with_a_payload_that_names_an_author_or_a_request(forum, field):
    payload = {
        "thread_id": str(forum.thread.pk),
        "content": "two\nlines",
        "author_id": "bot",
        "client_request_id": "r-1",
    }
    with pytest.raises(Exception, match=rf"payload\.{field}: .*expected no control characters"):
        ask("forum.post.create", {**payload, field: "a\nb"})
    assert ask("forum.post.create", payload, reason="two\nlines").created


def test_nor_about_a_subject_whose_id_has_them(alpha):
    with pytest.raises(Exception, match=r"subject\.id: expected no control characters"):
        ask("zoo.animal.work", {"animal": "c\nat"})
