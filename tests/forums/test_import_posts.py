"""`manage.py import_posts`: good rows come in once, bad ones are named, and a crash costs nothing."""

import csv
import io
import json
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from fleetprompt.tenants.context import in_tenant
from forums.importing import import_posts
from forums.models import CONTENT_LENGTH, Category, ContentVersion, Post, Thread
from signals.models import Signal
from signals.types import Actor
from tests.support import environment, manage, owner_cursor, somebody_waits, wait_until

HEADER = "id,author,date,content\n"


@pytest.fixture
def load(database, tmp_path):
    """Import a file with the given content; return the report, the error and nothing else."""

    def load(data, **options):
        path = tmp_path / "posts.csv"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        out, error = io.StringIO(), ""
        options = {"tenant": "alpha", "thread": "Old posts", "format": "json", **options}
        try:
            call_command("import_posts", str(path), stdout=out, **options)
        except CommandError as refusal:
            error = str(refusal)
        return json.loads(out.getvalue() or "null"), error

    return load


def test_rows_become_posts_of_a_new_thread(load):
    report, error = load(HEADER + "a,ann,2013-11-07T06:20:48,Hello\nb,bob,,Hi\n")
    assert error == ""
    assert (report["imported"], report["repeated"], report["refused"]) == (2, 0, [])
    with in_tenant("alpha"):
        thread = Thread.objects.get()
        assert (thread.title, thread.category.slug, str(thread.pk)) == (
            "Old posts",
            "general",
            report["thread_id"],
        )
        first, second = Post.objects.all()
        assert (first.external_id, first.author_id, first.content) == ("a", "ann", "Hello")
        assert first.posted_at == datetime(2013, 11, 7, 6, 20, 48, tzinfo=UTC)
        assert (first.author_type, first.status, first.revision) == ("human", "published", 1)
        assert second.posted_at is None


def test_each_post_and_place_is_said_in_one_signal(load):
    load(HEADER + "a,ann,,Hello\nb,bob,,Hi\na,ann,,Again\n")
    with in_tenant("alpha"):
        signals = list(Signal.objects.all())
        names = sorted(s.name for s in signals)
    assert names == ["forum.category.created", *["forum.post.created"] * 2, "forum.thread.created"]
    assert {s.actor for s in signals} == {Actor("system", "import_posts")}


def test_the_first_row_of_an_id_wins_now_and_later(load):
    report, _ = load(HEADER + "a,ann,,First\na,ann,,Second\n")
    assert (report["imported"], report["repeated"]) == (1, 1)
    report, error = load(HEADER + "a,ann,,Third\nb,bob,,New\n")
    assert (report["imported"], report["repeated"], error) == (1, 1, "")
    assert _contents() == ["First", "New"]


def test_the_same_id_of_another_source_is_another_post(load):
    load(HEADER + "a,ann,,Hello\n")
    report, _ = load(HEADER + "a,bob,,Ahoy\n", source="old forum")
    assert (report["imported"], report["repeated"]) == (1, 0)
    report, _ = load(HEADER + "a,ann,,Hi\n", source="old forum", update=True)
    assert (report["imported"], report["edited"]) == (0, 1)
    with in_tenant("alpha"):
        found = Post.objects.values_list("source", "external_id", "content")
        assert set(found) == {("import", "a", "Hello"), ("old forum", "a", "Hi")}


def test_an_update_edits_posts_whose_text_is_another_one(load):
    load(HEADER + "a,ann,,First\nb,ann,,Same\n")
    rows = "a,bob,,Second\nb,ann,,Same\nc,ann,,New\na,ann,,Third\nc,ann,,Newer\n"
    report, error = load(HEADER + rows, update=True)
    assert error == ""
    assert (report["imported"], report["edited"], report["repeated"]) == (1, 1, 3)
    assert _contents() == ["Second", "Same", "New"]
    with in_tenant("alpha"):
        post = Post.objects.get(external_id="a")
        assert (post.version, post.revision, post.author_id) == (2, 1, "ann")
        assert ContentVersion.objects.get().text == "First"
        [edited] = Signal.objects.filter(name="forum.post.edited")
        assert (edited.actor, edited.subject) == (Actor("system", "import_posts"), post.subject)
    report, _ = load(HEADER + rows, update=True)
    assert (report["imported"], report["edited"], report["repeated"]) == (0, 0, 5)


def test_the_first_row_of_an_id_wins_in_later_batches_too(load):
    rows = "".join(f"{n},ann,,{n}\n" for n in range(1001))
    load(HEADER + rows)
    changed = rows.replace(",,", ",,New ") + "0,ann,,Newest\n"
    for edited in (1001, 0):
        report, _ = load(HEADER + changed, update=True)
        assert (report["edited"], report["repeated"]) == (edited, 1002 - edited)
    assert _contents()[0] == "New 0"


def test_an_update_says_how_many_it_edited(database, tmp_path, capsys):
    path = tmp_path / "posts.csv"
    for text, line in (("Hello", "1 imported, 0 edited, "), ("Hi", "0 imported, 1 edited, ")):
        path.write_text(f"{HEADER}a,ann,,{text}\n")
        call_command("import_posts", str(path), tenant="alpha", thread="Old posts", update=True)
        assert capsys.readouterr().out.startswith(f"{line}0 repeated, 0 refused.")


def test_a_second_import_finds_the_thread_by_its_title(load):
    first, _ = load(HEADER + "a,ann,,Hello\n", category="old-times")
    second, _ = load(HEADER + "b,ann,,Hello\n", category="old-times")
    elsewhere, _ = load(HEADER + "c,ann,,Hello\n")
    assert first["thread_id"] == second["thread_id"] != elsewhere["thread_id"]
    with in_tenant("alpha"):
        assert set(Category.objects.values_list("slug", "name")) == {
            ("old-times", "Old times"),
            ("general", "General"),
        }


def test_columns_may_have_other_names_and_others_are_left_alone(load):
    data = "CLASS,CONTENT,DATE,AUTHOR,COMMENT_ID\n1,Hello,2013-11-07,ann,a\n"
    names = {f"{part}_column": part.upper() for part in ("author", "date", "content")}
    report, _ = load(data, id_column="COMMENT_ID", **names)
    assert report["imported"] == 1
    with in_tenant("alpha"):
        assert Post.objects.get().posted_at == datetime(2013, 11, 7, tzinfo=UTC)


def test_byte_order_marks_vanish_wherever_they_are(load):
    text = "\ufeff" + HEADER + "\ufeffa,ann\ufeff,,\ufeffHel\ufefflo\ufeff\n"
    report, error = load(text)
    assert (report["imported"], error) == (1, "")
    with in_tenant("alpha"):
        post = Post.objects.get()
    assert (post.external_id, post.author_id, post.content) == ("a", "ann", "Hello")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2013-11-07T06:20:48.123456", datetime(2013, 11, 7, 6, 20, 48, 123456, tzinfo=UTC)),
        ("2013-11-07T06:20:48+02:00", datetime(2013, 11, 7, 4, 20, 48, tzinfo=UTC)),
        ("2013-11-07 06:20:48Z", datetime(2013, 11, 7, 6, 20, 48, tzinfo=UTC)),
        (" 2013-11-07 ", datetime(2013, 11, 7, tzinfo=UTC)),
        ("  ", None),
    ],
)
def test_dates_without_a_zone_are_utc_and_may_be_missing(load, text, moment):
    assert load(HEADER + f"a,ann,{text},Hello\n")[1] == ""
    with in_tenant("alpha"):
        assert Post.objects.get().posted_at == moment


def test_a_file_without_dates_needs_no_date_column(load):
    data = "id,author,content\na,ann,Hello\n"
    assert load(data, date_column="date")[1].startswith("column: expected one column 'date'")
    assert load(data)[0]["imported"] == 1


def test_quotes_lines_and_any_script_come_through(load):
    texts = ['She said "no, never",\nand left', "Ünïcödé 😀\u2028end", "=1+1", "x" * CONTENT_LENGTH, " y "]
    out = io.StringIO()
    csv.writer(out).writerows([[n, "ann", "", text] for n, text in enumerate(texts)])
    report, error = load(HEADER + out.getvalue())
    assert (report["imported"], error) == (len(texts), "")
    assert _contents() == texts


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_ends_will_do_and_blank_lines_are_nothing(load, end):
    lines = ["", HEADER.strip(), "", "a,ann,,Hello", "", "b,ann,,Hi", ""]
    report, error = load(end.join(lines))
    assert (report["imported"], error) == (2, "")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"x,ann,", "expected 4 fields, as in the header; got 3"),
        (b"x,ann,,Hello,more", "expected 4 fields, as in the header; got 5"),
        (b",ann,,Hello", "id: expected a text that is not empty"),
        (b"  ,ann,,Hello", "id: expected a text that is not empty"),
        (b"x,,,Hello", "author: expected a text that is not empty"),
        (b"x" * 256 + b",ann,,Hello", "id: expected at most 255 characters; got 256"),
        (b"x," + b"a" * 256 + b",,Hello", "author: expected at most 255 characters; got 256"),
        (b"x\x85y,ann,,Hello", "id: expected UTF-8"),
        (b"x\xc2\x85y,ann,,Hello", "id: expected no control characters"),
        (b"x,an\tn,,Hello", "author: expected no control characters"),
        (b"x,ann,yesterday,Hello", "date: expected a time in ISO 8601, or nothing; got 'yesterday'"),
        (b"x,ann,2013-02-30,Hello", "date: expected a time in ISO 8601"),
        (b"x,ann,0001-01-01T00:00+05:00,Hello", "date: expected a time between the years 1 and 9999"),
        (b"x,ann,,", "content: expected a text that is not empty"),
        (b"x,ann,, \xef\xbb\xbf ", "content: expected a text that is not empty"),
        (b"x,ann,," + b"x" * 20_001, "content: expected at most 20000 characters; got 20001"),
        (b"x,ann,,a\x00b", "content: expected text without NUL"),
        (b"x,ann,,caf\xe9", "content: expected UTF-8"),
        (b"\xff,ann,,Hello", "id: expected UTF-8"),
        (b'x,ann,,"Hello" you', "expected CSV; "),
    ],
)
def test_a_bad_row_is_refused_with_line_and_reason_and_the_others_come_in(load, row, reason):
    data = HEADER.encode() + b'a,ann,,"two\nlines"\n\n' + row + b"\nb,bob,,Hi\n"
    report, error = load(data)
    assert error == "1 row was refused; of the others, 2 were imported."
    assert (report["imported"], report["repeated"]) == (2, 0)
    [refused] = report["refused"]
    assert refused["line"] == 5
    assert refused["error"].startswith(reason)
    assert _contents() == ["two\nlines", "Hi"]


def test_a_quote_that_never_ends_costs_its_row_only(load):
    report, error = load(HEADER + 'a,ann,,Hello\nb,bob,,"Hi\nthere')
    assert error
    assert report["imported"] == 1
    [refused] = report["refused"]
    assert refused["line"] == 3
    assert "expected CSV" in refused["error"]


def test_a_refused_row_does_not_take_the_id_from_a_good_one(load):
    report, _ = load(HEADER + "a,ann,never,First\na,ann,,Second\n")
    assert (report["imported"], report["repeated"], len(report["refused"])) == (1, 0, 1)


def test_a_file_of_bad_rows_leaves_no_thread(load):
    report, error = load(HEADER + ",,,\n,,,\n")
    assert (report["thread_id"], len(report["refused"])) == (None, 2)
    assert error
    _assert_empty()


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ("", {}, "header: expected a line with the names of the columns"),
        ("\n\n", {}, "header: expected a line with the names of the columns"),
        ('"id', {}, "header: expected CSV"),
        ("author,date,content\n", {}, "column: expected one column 'id' in the header"),
        (
            "id,id,author,content\n",
            {},
            "column: expected one column 'id' in the header, which has it twice",
        ),
        (b"\xff\xfei\x00d\x00", {}, "column: expected one column 'id'"),
        (HEADER, {"content_column": "text"}, "column: expected one column 'text'"),
        (HEADER, {"thread": ""}, "thread: expected a text that is not empty"),
        (HEADER, {"thread": "t" * 201}, "thread: expected at most 200 characters; got 201"),
        (HEADER, {"thread": "a\x00"}, "thread: expected text without NUL"),
        (HEADER, {"category": "no slug"}, "category: expected letters, digits"),
        (HEADER, {"category": ""}, "category: expected letters, digits"),
        (HEADER, {"category": "c" * 51}, "category: expected at most 50 characters"),
        (HEADER, {"source": ""}, "source: expected a text that is not empty"),
        (HEADER, {"source": "s" * 51}, "source: expected at most 50 characters; got 51"),
        (HEADER, {"source": "a\nb"}, "source: expected no control characters"),
        (HEADER, {"tenant": "gamma"}, "tenant: there is no tenant 'gamma'"),
    ],
)
def test_what_cannot_be_imported_at_all_changes_nothing(load, data, options, message):
    good_row = b"a,ann,,Hello\n" if data == HEADER else b""
    report, error = load((data if isinstance(data, bytes) else data.encode()) + good_row, **options)
    assert report is None
    assert error.startswith(message)
    _assert_empty()


@pytest.mark.parametrize("path", ["no-such-file.csv", ".", "a\x00b"])
def test_a_file_that_cannot_be_opened_is_one_sentence(database, path):
    with pytest.raises(CommandError, match=r"^file: "):
        call_command("import_posts", path, tenant="alpha", thread="Old posts")
    _assert_empty()


def test_more_rows_than_a_batch_come_in_their_order(load):
    rows = "".join(f"{n},ann,,{n}\n" for n in range(1234))
    report, _ = load(HEADER + rows + "7,ann,,again\n")
    assert (report["imported"], report["repeated"]) == (1234, 1)
    assert _contents() == [str(n) for n in range(1234)]


def test_a_batch_comes_in_with_its_thread_or_not_at_all(load):
    with in_tenant("alpha"), owner_cursor() as cursor:
        cursor.execute("ALTER TABLE forums_post ADD CONSTRAINT no_b CHECK (content <> 'b') NOT VALID")
    try:
        with pytest.raises(IntegrityError, match="no_b"):
            load(HEADER + "1,ann,,a\n2,ann,,b\n")
        _assert_empty()
    finally:
        with in_tenant("alpha"), owner_cursor() as cursor:
            cursor.execute("ALTER TABLE forums_post DROP CONSTRAINT no_b")


def test_two_imports_at_once_share_the_new_thread(database):
    def load(external_id):
        data = io.BytesIO(f"{HEADER}{external_id},ann,,Hello\n".encode())
        reports.append(import_posts(data, thread="Old posts"))

    def work():
        with in_tenant("alpha"):
            load("b")
        connection.close()

    reports: list = []
    other = threading.Thread(target=work)
    with in_tenant("alpha"), transaction.atomic():
        load("a")
        other.start()
        wait_until(somebody_waits, "the second waits for the first")
    other.join()
    assert [report.imported for report in reports] == [1, 1]
    assert reports[0].thread_id == reports[1].thread_id


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_import_is_completed_by_the_next(database, tmp_path, end):
    path, total = tmp_path / "posts.csv", 3_000
    path.write_text(HEADER + "".join(f"{n},ann,,{n}\n" for n in range(total)))
    arguments = ["import_posts", str(path), "--tenant", "alpha", "--thread", "Old posts"]
    process = subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=settings.BASE_DIR,
        env=environment(),
        stderr=subprocess.PIPE,
        # Whoever runs the tests in the background may have them ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wait_until(lambda: _count() or process.poll() is not None, "some posts are in")
    process.send_signal(end)
    _, error = process.communicate(timeout=30)
    assert process.returncode == (130 if end == signal.SIGINT else -end)
    assert b"Traceback" not in error
    before = _count()
    assert 0 < before < total

    done = manage(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{total - before} imported, {before} repeated, 0 refused.\nThread: ")
    assert _count() == total
    with in_tenant("alpha"):
        assert Thread.objects.count() == 1
        assert Signal.objects.filter(name="forum.post.created").count() == total


def test_a_process_says_what_it_refused_and_ends_with_1(database, tmp_path):
    path = tmp_path / "posts.csv"
    path.write_text(HEADER + "a,ann,,Hello\n,ann,,Hello\nb,ann,never,Hello\n")
    done = manage("import_posts", str(path), "--tenant", "alpha", "--thread", "Old posts")
    assert done.returncode == 1
    assert done.stdout.startswith("1 imported, 0 repeated, 2 refused.\nThread: ")
    assert done.stderr.splitlines()[:2] == [
        "line 3: id: expected a text that is not empty",
        "line 4: date: expected a time in ISO 8601, or nothing; got 'never'",
    ]


def _contents():
    with in_tenant("alpha"):
        return list(Post.objects.values_list("content", flat=True))


def _count():
    with in_tenant("alpha"):
        return Post.objects.count()


def _assert_empty():
    with in_tenant("alpha"):
        for model in (Category, Thread, Post, Signal):
            assert not model.objects.exists()
