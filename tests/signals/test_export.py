"""Exports have exactly the signals of the list, with any texts, in bounded memory."""

import csv
import io
import json
import logging
from datetime import datetime
from itertools import islice
from uuid import uuid4

import psutil
import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from model_bakery import baker

from fleetprompt.tenants.context import TenantError, active_schema, in_tenant
from signals import bus
from signals.exporting import CHUNK_SIGNALS, FIELDS, FORMATS, export
from signals.models import Signal
from signals.personal import ERASED, Personal
from tests.admin import client_of
from tests.signals.test_admin import LIST, emit
from tests.support import TESTER, owner_cursor

HOSTILE = [
    'quo"tes, commas',
    "two\r\nlines\nand more",
    "smørrebrød 🦊 \u2028 \u0085 end",
    "  spaces  ",
    "'",
    "null",
    "",
]
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"]


@pytest.fixture
def client(database):
    return client_of("ann", group="Auditor")


def store(**fields):
    """Store a signal with texts that `emit` refuses by now, as older ones may have them."""
    with in_tenant("alpha"):
        options = {"dedupe_key": str(uuid4()), "actor_type": "agent", "payload": {}, "metadata": {}}
        return baker.make(Signal, name="test.b", **{**options, **fields})


def read(client, ending, **query):
    """Return what an export has for a query string of the list, as rows by field."""
    answer = client.get(f"{LIST}export/{ending}/", query)
    assert answer.status_code == 200
    assert answer.streaming
    text = b"".join(answer.streaming_content).decode()
    if ending == "csv":
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
        assert rows.pop(0) == list(FIELDS)
        return [dict(zip(FIELDS, row, strict=True)) for row in rows]
    assert text.endswith("\n") or not text
    return [json.loads(line) for line in text.split("\n")[:-1]]


def names(client, ending, **query):
    return [row["name"] for row in read(client, ending, **query)]


@pytest.mark.parametrize("text", HOSTILE + FORMULAS)
def test_json_lines_give_back_every_field_exactly(client, text):
    emit(
        "test.a",
        {"text": text, "deep": [{"n": 1.5, "none": None, text or "k": True}]},
        metadata={"m": text},
    )
    store(actor_id=text.strip() or "x", actor_label=text, causation_id=text, correlation_id=text)
    rows = read(client, "jsonl")
    with in_tenant("alpha"):
        signals = list(Signal.objects.order_by("recorded_at", "id"))
    for row, signal in zip(rows, signals, strict=True):
        assert tuple(row) == FIELDS
        for field in FIELDS:
            value = getattr(signal, field)
            if field in ("occurred_at", "recorded_at"):
                assert row[field].endswith("Z")
                assert datetime.fromisoformat(row[field]) == value
            else:
                assert row[field] == (str(value) if field == "id" else value)


@pytest.mark.parametrize("text", HOSTILE)
def test_csv_gives_back_texts_and_json(client, text):
    signal = store(payload={"text": text}, actor_label=text, correlation_id=text)
    [row] = read(client, "csv")
    assert (row["actor_label"], row["correlation_id"], row["id"]) == (text, text, str(signal.pk))
    assert json.loads(row["payload"]) == {"text": text}
    assert json.loads(row["metadata"]) == {}


@pytest.mark.parametrize("text", FORMULAS)
def test_csv_has_no_formulas(client, text):
    store(payload={text: text}, actor_label=text, dedupe_key=text, subject_type="a.b", subject_id=text)
    [row] = read(client, "csv")
    assert row["actor_label"] == row["dedupe_key"] == row["subject_id"] == f"'{text}"
    assert json.loads(row["payload"]) == {text: text}


def test_both_have_personal_values_in_the_payload_until_they_are_erased(client):
    signal = emit("test.a", {"reason": Personal("=1+1, ünique"), "n": 1}, member_id=uuid4())
    store()
    for reason in ("=1+1, ünique", ERASED):
        lines, table = read(client, "jsonl"), read(client, "csv")
        assert lines[0]["payload"] == json.loads(table[0]["payload"]) == {"reason": reason, "n": 1}
        assert [row["member_id"] for row in lines] == [str(signal.member_id), None]
        assert [row["member_id"] for row in table] == [str(signal.member_id), ""]
        assert "personal" not in {*lines[0], *table[0]}
        with in_tenant("alpha"):
            Signal.objects.all().erase()


def test_csv_lines_end_as_the_standard_says(client):
    emit("test.a")
    text = b"".join(client.get(f"{LIST}export/csv/").streaming_content)
    assert text.count(b"\r\n") == text.count(b"\n") == 2


@pytest.mark.parametrize("ending", FORMATS)
def test_it_has_what_filters_and_search_show_oldest_first(client, ending):
    for number, correlation in enumerate(["one", "one", "two"]):
        emit(f"test.n{number}", correlation_id=correlation)
    assert names(client, ending) == ["test.n0", "test.n1", "test.n2"]
    assert names(client, ending, q="one") == ["test.n0", "test.n1"]
    assert names(client, ending, q="one", name="test.n1") == ["test.n1"]
    assert names(client, ending, name="test.none") == []
    assert names(client, ending, recorded_at_from_0="rubbish") == []
    assert names(client, ending, recorded_at_to_0="2020-01-01") == []
    assert names(client, ending, o="2", all="") == ["test.n0", "test.n1", "test.n2"]


@pytest.mark.parametrize("query", ["nothing=1", "source__regex=(", "payload__x=1"])
def test_what_the_list_does_not_know_is_refused(client, query):
    assert client.get(f"{LIST}export/csv/?{query}").status_code == 400


def test_other_endings_and_methods_are_refused(client):
    assert client.get(f"{LIST}export/xlsx/").status_code == 404
    assert client.post(f"{LIST}export/csv/").status_code == 405


@pytest.mark.parametrize(("ending", "kind"), [("csv", "text/csv"), ("jsonl", "application/x-ndjson")])
def test_it_is_a_file_with_the_tenant_and_the_time_in_its_name(client, ending, kind):
    answer = client.get(f"{LIST}export/{ending}/")
    assert answer["Content-Type"].startswith(kind)
    head = answer["Content-Disposition"]
    start = 'attachment; filename="alpha-signals-'
    assert head.startswith(start)
    datetime.strptime(head.removeprefix(start), f'%Y%m%dT%H%MZ.{ending}"')


def test_the_list_offers_it_with_its_own_query_string(client):
    html = client.get(LIST, {"name": "a.b", "q": "x&y"}).content.decode()
    for ending in FORMATS:
        assert f'href="{LIST}export/{ending}/?name=a.b&amp;q=x%26y"' in html


def test_who_may_only_view_is_not_offered_it_and_refused(database, caplog):
    emit("test.a")
    moderator = client_of("mo", group="Moderator")
    assert "/export/" not in moderator.get(LIST).content.decode()
    with caplog.at_level(logging.WARNING, "directives"):
        for ending in FORMATS:
            assert moderator.get(f"{LIST}export/{ending}/").status_code == 403
    assert caplog.text.count("refused in tenant alpha") == 2
    with in_tenant("alpha"):
        assert not LogEntry.objects.exists()
        assert Signal.objects.count() == 1


def fill(count):
    """Make many signals at a few times, as batches do, some 1 kB each."""
    with in_tenant("alpha"), owner_cursor() as cursor:
        cursor.execute(
            "INSERT INTO signals_signal (id, name, dedupe_key, payload, metadata, occurred_at, recorded_at,"
            " actor_type, actor_id, actor_label, subject_type, subject_id, source, correlation_id,"
            " causation_id) SELECT gen_random_uuid(), 'test.many', 'key:' || n,"
            " jsonb_build_object('text', repeat('x', 1000)), '{}', now(),"
            " now() - interval '1 minute' * (n %% 5), 'system', 'x', '', '', '', '', '', ''"
            " FROM generate_series(1, %s) AS n",
            [count],
        )
        cursor.execute("ANALYZE signals_signal")


@pytest.mark.parametrize("count", [CHUNK_SIGNALS - 1, CHUNK_SIGNALS, CHUNK_SIGNALS + 1, 3 * CHUNK_SIGNALS])
def test_none_is_missing_or_double_where_the_parts_meet(client, count):
    fill(count)
    keys = [row["dedupe_key"] for row in read(client, "jsonl")]
    assert len(keys) == len(set(keys)) == count


@pytest.mark.long
@pytest.mark.parametrize("ending", FORMATS)
def test_ten_times_the_signals_take_no_more_memory(database, ending):
    fill(60_000)
    process, used, written = psutil.Process(), [], 0
    for part in export(Signal.objects.all(), FORMATS[ending], tenant="alpha"):
        written += part.count("test.many")
        used.append(process.memory_info().rss)
    assert written == 60_000
    # All of them would be 60 MB and more as text, and more than that as rows.
    assert max(used) - max(used[: 6_000 // CHUNK_SIGNALS]) < 20_000_000


def test_between_its_parts_no_tenant_is_entered(database):
    fill(2 * CHUNK_SIGNALS)
    connection.set_schema_to_public()
    parts = export(Signal.objects.all(), FORMATS["jsonl"], tenant="alpha")
    for part in parts:
        assert active_schema() == "public"
        if part:
            break
    # The reader goes away.
    parts.close()
    assert active_schema() == "public"
    with in_tenant("beta"):
        assert not Signal.objects.exists()


def test_it_breaks_off_rather_than_read_another_tenant(database):
    fill(CHUNK_SIGNALS)
    with in_tenant("beta"):
        bus.emit("test.secret", dedupe_key="secret", actor=TESTER)
    connection.set_schema_to_public()
    parts = export(Signal.objects.all(), FORMATS["jsonl"], tenant="alpha")
    assert "test.many" in "".join(islice(parts, 2))
    with in_tenant("beta"), pytest.raises(TenantError):
        next(parts)


def test_a_request_to_another_tenant_in_between_is_served_from_its_own(client):
    fill(CHUNK_SIGNALS)
    answer = client.get(f"{LIST}export/csv/")
    content = iter(answer.streaming_content)
    assert next(content)
    other = Client(headers={"host": "beta.localhost"})
    assert other.get("/").status_code == 200
    assert active_schema() == "org_beta"
    # The one whose turn it was not does not go on in the wrong place.
    with pytest.raises(TenantError):
        list(content)
    assert active_schema() == "org_beta"


def test_an_export_of_one_tenant_has_nothing_of_another(client):
    emit("test.a")
    with in_tenant("beta"):
        bus.emit("test.secret", dedupe_key=str(uuid4()), actor=TESTER)
    assert names(client, "jsonl") == ["test.a"]
