"""Objects that the user may not view appear by type and id, never by title."""

from uuid import uuid4

import pytest

from fleetprompt.tenants.context import in_tenant
from forums import content
from forums.models import Category, Thread
from signals.models import Signal
from tests.admin import client_of
from tests.support import TESTER, ask, run

SECRETS = ("secretpost", "secretthread", "secretcategory")
ALL = (
    "view_directive",
    "view_signal",
    "view_post",
    "view_thread",
    "view_category",
    "request_forum.post.hide",
    "request_forum.thread.lock",
    "snooze_forum.thread.lock",
    "snooze_forum.post.hide",
)


@pytest.fixture
def pages(database):
    """The addresses of pages that name records, below `/admin/`, and a post and its thread."""
    with in_tenant("alpha"):
        category = content.create_category("general", "General", actor=TESTER)
        thread = content.create_thread(category, "Welcome", actor=TESTER)
        post = content.create_post(thread, "secretpost", actor=TESTER, author_id="ann")
        # Signals of their creation tell of earlier titles.
        Category.objects.update(name="secretcategory")
        Thread.objects.update(title="secretthread")
        correlation = str(uuid4())
        hide = ask("forum.post.hide", {"post_id": str(post.pk)}, correlation_id=correlation).directive
        run(hide)
        lock = ask("forum.thread.lock", {"thread_id": str(thread.pk)}, correlation_id=correlation).directive
        about_post = Signal.objects.get(name="forum.post.hidden")
        about_thread = Signal.objects.get(name="forum.thread.created")
    paths = [
        "",
        "directives/directive/",
        "signals/signal/",
        "forums/post/",
        "forums/thread/",
        "forums/category/",
        *(f"directives/directive/{one.pk}/change/" for one in (hide, lock)),
        f"directives/directive/batch/{correlation}/",
        f"directives/directive/operate/snooze/?id={lock.pk}&id={hide.pk}",
        *(f"signals/signal/{one.pk}/change/" for one in (about_post, about_thread)),
        f"directives/directive/request/forum.post.hide/?subjects={post.pk}",
        f"directives/directive/request/forum.thread.lock/?subjects={thread.pk}",
        *(
            f"forums/{kind}/{record.pk}/{page}/"
            for kind, record in (("post", post), ("thread", thread), ("category", category))
            for page in ("change", "history")
        ),
    ]
    return paths, post, thread


@pytest.mark.parametrize("hidden", ["post", "thread", "category"])
def test_no_page_names_what_the_user_may_not_view(pages, hidden):
    paths, *_ = pages
    client = client_of("mo", permissions=[name for name in ALL if name != f"view_{hidden}"])
    seen = {path: client.get(f"/admin/{path}") for path in paths}
    assert sum(answer.status_code == 200 for answer in seen.values()) >= len(paths) - 3
    told = {path for path, answer in seen.items() if f"secret{hidden}" in answer.content.decode()}
    assert not told


def test_who_may_view_all_reads_all_titles(pages):
    paths, post, _ = pages
    client = client_of("mo", permissions=ALL)
    texts = {path: client.text(path) for path in paths if "?" not in path}
    assert "secretpost" in texts["directives/directive/"]
    assert "secretthread" in texts["forums/post/"]
    assert "secretcategory" in texts["forums/thread/"]
    assert "secretcategory" in texts[f"forums/post/{post.pk}/change/"]


def test_forms_name_what_was_picked_by_type_and_id(pages):
    _, post, thread = pages
    client = client_of("mo", permissions=["request_forum.post.hide", "request_forum.thread.lock"])
    for name, field, record in (
        ("forum.post.hide", "post_id", post),
        ("forum.thread.lock", "thread_id", thread),
    ):
        here = f"/admin/directives/directive/request/{name}/"
        fields = {f"payload_{field}": str(record.pk), "when": "now", "batch": str(uuid4())}
        invalid = client.post(here, {**fields, "confirm": "request"}, follow=True)
        assert "This field is required." in invalid.content.decode()
        page = invalid.content.decode()
        assert f"{record.SUBJECT_TYPE}:{record.pk}" in page
        tried = client.post(here, {**fields, "confirm": "dry_run", "reason": "Trying"})
        assert tried.status_code == 403
        page += tried.content.decode()
        assert not [secret for secret in SECRETS if secret in page]
        assert client.get(f"/admin/directives/directive/pick/{record.SUBJECT_TYPE}/").status_code == 403


def test_an_operations_result_names_nothing_either(pages):
    *_, thread = pages
    client = client_of("mo", permissions=["view_directive", "snooze_forum.thread.lock"])
    with in_tenant("alpha"):
        lock = Signal.objects.get(name="directive.requested", subject_id=str(thread.pk)).causation_id
    fields = {"_selected_action": lock, "token": str(uuid4()), "reason": "Later", "until": "1h"}
    answer = client.post("/admin/directives/directive/operate/snooze/", fields, follow=True)
    text = answer.content.decode()
    assert f"forum.thread:{thread.pk}" in text
    assert "secretthread" not in text
