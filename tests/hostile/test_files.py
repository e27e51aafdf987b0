"""Hostile files for `import_posts` and `directive request`: each bad line is named, the rest goes on."""

import io
import json
import tracemalloc
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from directives.models import Directive
from fleetprompt.cli.lines import MAX_LINE_CHARACTERS
from fleetprompt.tenants.context import in_tenant
from fleetprompt.visible import visible
from forums.models import Post
from tests.hostile.strategies import broken, deep, examples, texts, values

ENDS = st.sampled_from([b"\n", b"\r\n", b"\r", b"", b"\x00", b"\x0b", "\u2028".encode()])
JUNK = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            b'"',
            b'"unclosed',
            b"\xff\xfe",
            b"\xef\xbb\xbf",
            b"\x00",
            b",,,",
            b'a"b',
            b"\xed\xa0\x80",
            b"{",
            b"[" * 9000,
        ]
    ),
    broken.map(lambda text: text.encode("utf-8", "surrogatepass")),
)


def call(name, *arguments):
    """Run a command as a program would; return its JSON, if it printed any, and its error."""
    out, error = io.StringIO(), ""
    try:
        call_command(name, *arguments, "--format", "json", stdout=out, stderr=io.StringIO())
    except CommandError as refusal:
        error = str(refusal)
        assert error
        assert len(error) < 2000
    return json.loads(out.getvalue() or "null"), error


def import_file(path, data):
    path.write_bytes(data)
    return call("import_posts", str(path), "--tenant", "alpha", "--thread", "Old")


def request_file(path, data):
    path.write_bytes(data)
    return call("directive", "request", "--from", str(path), "--tenant", "alpha")


def file(lines):
    return b"".join(line + end for line, end in lines)


@given(st.lists(st.tuples(JUNK, ENDS), max_size=6).map(file), st.booleans())
@examples(40)
def test_whatever_a_csv_file_holds_is_imported_or_refused_by_line(
    database, tmp_path_factory, junk, has_header
):
    header = b"id,author,content\n" if has_header else b""
    good = f"{uuid4()},ann,Hello\n".encode()
    report, error = import_file(tmp_path_factory.getbasetemp() / "posts.csv", header + good + junk)
    if report is None:
        assert error
        return
    assert report["imported"] >= 1
    assert bool(report["refused"]) == bool(error)
    for row in report["refused"]:
        assert row["line"] >= 2
        assert visible(row["error"]) == row["error"]


@given(
    st.lists(
        st.tuples(
            JUNK
            | st.one_of(
                deep,
                values,
                st.dictionaries(
                    st.sampled_from(["name", "payload", "key", "at", "reason"]) | texts, values
                ),
            ).map(
                lambda value: json.dumps(value, default=str).encode() if not is_deep(value) else b"[" * 5000
            ),
            ENDS,
        ),
        max_size=6,
    ).map(file)
)
@examples(60)
def test_whatever_a_jsonl_file_holds_is_requested_or_refused_by_line(database, tmp_path_factory, junk):
    good = json.dumps({"name": "forum.post.hide", "payload": {"post_id": str(uuid4())}}).encode() + b"\n"
    report, error = request_file(tmp_path_factory.getbasetemp() / "requests.jsonl", good + junk)
    assert report["created"] + report["existing"] >= 1
    assert bool(report["refused"]) == bool(error)
    for row in report["refused"]:
        assert row["line"] >= 2
        assert len(row["error"]) < 20_000


def is_deep(value):
    try:
        json.dumps(value)
    except (RecursionError, ValueError):
        return True
    return False


@pytest.mark.parametrize("size", [MAX_LINE_CHARACTERS - 200, MAX_LINE_CHARACTERS + 1, 10_000_000])
def test_a_line_without_end_costs_itself_and_little_memory(database, tmp_path, size):
    csv = b"id,author,content\na,ann,One\nb,ann," + b"x" * size + b"\nc,ann,Three\n"
    lines = [
        json.dumps({"name": "forum.post.hide", "payload": {"post_id": str(uuid4())}}).encode()
        for _ in range(2)
    ]
    lines.insert(1, b'{"name": "' + b"x" * size + b'"}')
    # The first use of a command loads what it needs, once.
    import_file(tmp_path / "x", b"id,author,content\nz,ann,Zero\n")
    tracemalloc.start()
    try:
        report, error = import_file(tmp_path / "posts.csv", csv)
        requested, _ = request_file(tmp_path / "requests.jsonl", b"\n".join(lines))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (report["imported"], [row["line"] for row in report["refused"]]) == (2, [3])
    assert error == "1 row was refused; of the others, 2 were imported."
    assert (requested["created"], [row["line"] for row in requested["refused"]]) == (2, [2])
    if size > MAX_LINE_CHARACTERS:
        assert "expected lines of at most 1,000,000 characters" in report["refused"][0]["error"]
        assert "expected lines of at most 1,000,000 characters" in requested["refused"][0]["error"]
    assert peak < len(csv) + 12 * MAX_LINE_CHARACTERS


def test_a_quote_that_is_never_closed_ends_somewhere(database, tmp_path):
    report, _ = import_file(
        tmp_path / "posts.csv",
        b'id,author,content\na,ann,One\nb,ann,"' + b"line\n" * 100_000 + b"c,ann,Three\n",
    )
    assert report["refused"][0]["line"] == 3
    assert "field larger than field limit" in report["refused"][0]["error"]
    with in_tenant("alpha"):
        assert set(Post.objects.values_list("content", flat=True)) == {"One", "Three"}


def test_a_row_of_many_long_quoted_lines_is_too_long(database, tmp_path):
    cell = b'"' + b"line\n" * 20_000 + b'",'
    report, _ = import_file(tmp_path / "posts.csv", b"id,author,content\n" + cell * 12 + b"\n")
    assert report["refused"][0]["line"] == 2
    assert "expected lines of at most 1,000,000 characters" in report["refused"][0]["error"]


def test_a_million_columns_are_one_refusal(database, tmp_path):
    report, _ = import_file(
        tmp_path / "posts.csv", b"id,author,content\n" + b"," * 999_999 + b"\nc,ann,Three\n"
    )
    [refused] = report["refused"]
    assert refused["error"] == "expected 3 fields, as in the header; got 1000000"
    assert report["imported"] == 1
    report, error = import_file(tmp_path / "posts.csv", b"x," * 400_000 + b"\n")
    assert report is None
    assert error.startswith("column: expected one column 'id' in the header")


@pytest.mark.parametrize(
    "data", [b"a\x00b\n", b"\xff\n", b"[1]\n", b'"text"\n', b"{}\n", b"1e999\n", b"[" * 5000 + b"\n"]
)
def test_each_bad_line_of_a_file_is_named(database, tmp_path, data):
    report, error = request_file(tmp_path / "requests.jsonl", b"\n" + data)
    assert [row["line"] for row in report["refused"]] == [2]
    assert error == "1 line was refused; nothing was requested."
    with in_tenant("alpha"):
        assert not Directive.objects.exists()
