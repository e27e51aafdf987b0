"""Personal values: stored beside their commitments, read in their place, and gone once they are erased."""

import json
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from directives.models import Directive
from directives.requesting.dry_run import dry_run
from fleetprompt.errors import Refused
from fleetprompt.tenants.context import in_tenant
from signals import bus
from signals.audit.format.openings import problem
from signals.models import Signal
from signals.personal import ERASED, Personal, commitments, digest, disclose
from tests.admin import client_of
from tests.support import TESTER, ask_animal, run

SALT = "A" * 22
PHRASE = "Grandmother's phone is 555-0100"
LIST = "/admin/signals/signal/"


def emit(key, payload, **options):
    return bus.emit("forum.post.hidden", payload, dedupe_key=key, actor=TESTER, **options).signal


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Spam", "008e387201aecaf86a8c4d4f7585fee80d4106e0559b9ee11ae74041fde5e424"),
        (
            {"b": [1, 1.5, None], "a": "é"},
            "977cad681e6397242aea736eae7425bf2b34eff17560ee6319b922da7f47bcc1",
        ),
    ],
)
def test_a_commitment_is_the_hash_of_salt_and_canonical_value(value, expected):
    """In a shell: (printf '\\0%.0s' {1..16}; printf '"Spam"') | sha256sum."""
    assert digest(SALT, value) == expected
    assert Personal(value, SALT).commitment == {"$personal": expected}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(-1e15, 1e15) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text("ab$", max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@pytest.fixture(scope="module")
def stored_json(_tenants_exist, django_db_blocker):
    """Return what a value is after the database stored it."""

    def stored(value):
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s::jsonb::text", [json.dumps(value)])
            return json.loads(cursor.fetchone()[0])

    with django_db_blocker.unblock():
        yield stored


@given(value=JSON)
def test_a_value_fits_its_commitment_after_the_database_stored_it(stored_json, value):
    made = Personal(value)
    assert problem({"x": made.commitment}, stored_json({"x": [made.salt, value]})) == ""


@pytest.mark.parametrize("salt", ["", "A" * 21, "A" * 23, "A" * 21 + "B", "A" * 22 + "==", "é" * 22])
def test_a_salt_has_one_spelling(salt):
    with pytest.raises(ValueError, match="salt"):
        digest(salt, "Spam")


def test_a_signal_stores_commitments_and_is_read_with_values(alpha):
    member = UUID(int=7)
    signal = emit("key", {"reason": Personal(PHRASE), "note": Personal(["x", 1]), "n": 1}, member_id=member)
    clear = {"reason": PHRASE, "note": ["x", 1], "n": 1}
    stored = Signal.objects.get()
    assert signal.payload == stored.payload == clear
    assert stored.member_id == member
    [row] = Signal.objects.values("payload", "personal")
    assert row["payload"].keys() == clear.keys()
    assert commitments(row["payload"]).keys() == row["personal"].keys() == {"reason", "note"}
    assert PHRASE not in json.dumps(row["payload"])
    assert disclose(row["payload"], row["personal"]) == clear
    stored.refresh_from_db()
    assert stored.payload == clear


def test_two_signals_may_share_a_value_and_its_salt(alpha):
    shared = Personal(PHRASE)
    emit("one", {"reason": shared})
    emit("two", {"reason": shared})
    assert len({json.dumps(row) for row in Signal.objects.values_list("payload", flat=True)}) == 1
    emit("three", {"reason": Personal(PHRASE)})
    assert len({json.dumps(row) for row in Signal.objects.values_list("payload", flat=True)}) == 2


@pytest.mark.parametrize(
    "payload", [{"$personal": "x"}, {"a": {"$personal": 1}}, {"a": [{"$personal": 1}]}]
)
def test_a_commitment_from_outside_is_refused(alpha, payload):
    with pytest.raises(Refused, match=r"payload.*\$personal"):
        emit("key", payload)
    with pytest.raises(Refused, match=r"payload.*\$personal"):
        emit("key", {"reason": Personal(payload)})


@pytest.mark.parametrize(
    "personal", [None, {}, [], "text", 5, {"reason": 5}, {"reason": []}, {"reason": [SALT]}, {"reason": {}}]
)
def test_what_is_gone_or_rubbish_reads_erased(personal):
    stored = {"reason": Personal(PHRASE).commitment, "n": 1}
    assert disclose(stored, personal) == {"reason": ERASED, "n": 1}


@pytest.mark.parametrize("stored", [None, [], "text", 5, [{"$personal": 1}]])
def test_what_is_no_object_is_read_as_it_is(stored):
    assert disclose(stored, {"reason": [SALT, PHRASE]}) == stored


def test_rubbish_in_the_column_breaks_no_page(database):
    with in_tenant("alpha"):
        made = bus.fact("test.a", {"reason": Personal(PHRASE)}, dedupe_key="a", actor=TESTER)
        made.personal = [PHRASE]
        bus.record([made])
    client = client_of("ann", group="Auditor")
    for page in (LIST, f"{LIST}{made.pk}/change/", f"{LIST}?q={PHRASE}"):
        assert client.get(page).status_code == 200


class TestReaders:
    """Pages, commands and exports that show a directive's signals."""

    @pytest.fixture
    def read(self, database, capsys):
        """Return a function that returns what each reader shows."""
        with in_tenant("alpha"):
            directive = ask_animal("whisper", note=PHRASE)
            run(directive)
            # The payload is no matter of signals.
            Directive.objects.update(payload={})
            signal = Signal.objects.get(name="zoo.animal.whispered")
        client = client_of("ann", group="Auditor")
        command = ("directive", "show", str(directive.pk), "--tenant", "alpha")

        def read():
            pages = {
                "list": f"{LIST}?name=zoo.animal.whispered",
                "page": f"{LIST}{signal.pk}/change/",
                "directive": f"/admin/directives/directive/{directive.pk}/change/",
                "csv": f"{LIST}export/csv/?name=zoo.animal.whispered",
                "jsonl": f"{LIST}export/jsonl/?name=zoo.animal.whispered",
            }
            found = {name: client.get(url).getvalue().decode() for name, url in pages.items()}
            capsys.readouterr()
            call_command(*command)
            found["show"] = capsys.readouterr().out
            call_command(*command, "--format", "json")
            found["json"] = json.dumps(json.loads(capsys.readouterr().out)["timeline"])
            return {name: text.replace("&#x27;", "'") for name, text in found.items()}

        return read

    def test_they_show_the_value_and_never_salt_or_commitment(self, read):
        with in_tenant("alpha"):
            salt = Signal.objects.get(name="zoo.animal.whispered").personal["reason"][0]
        for name, text in read().items():
            assert PHRASE in text, name
            assert salt not in text, name
            assert "$personal" not in text, name

    def test_they_show_that_it_was_erased(self, read):
        with in_tenant("alpha"):
            assert Signal.objects.filter(name="zoo.animal.whispered").erase() == 1
        for name, text in read().items():
            assert ERASED in text, name
            assert PHRASE not in text, name
            assert "$personal" not in text, name


def test_a_dry_run_shows_the_value(alpha):
    payload = {"animal": "cat", "note": PHRASE}
    [signal] = dry_run("zoo.animal.whisper", payload, actor=TESTER).signals
    assert signal.payload == {"reason": PHRASE, "loud": False}


class TestSearch:
    """The search of the list of signals."""

    @pytest.fixture
    def search(self, database):
        with in_tenant("alpha"):
            emit("one", {"reason": Personal(PHRASE), "note": Personal({"deep": ["Ünique 100%"]})})
            emit("two", {"reason": Personal("Spam, spam")})
            emit("none", {"reason": PHRASE})
        client = client_of("ann", group="Auditor")

        def search(term, **query):
            answer = client.get(LIST, {"q": term, **query})
            assert answer.status_code == 200
            return sorted(signal.dedupe_key for signal in answer.context["cl"].result_list)

        return search

    @pytest.mark.parametrize(
        ("term", "found"),
        [
            (PHRASE, ["one"]),
            ("grandMOTHER", ["one"]),
            ("ünique 100%", ["one"]),
            ("spam", ["two"]),
            ("SPAM, s", ["two"]),
            ("100_", []),
            ("s.am", []),
            (".*", []),
            ('"', []),
            ("\\", []),
            ("deep", []),
            ("two", ["two"]),
        ],
    )
    def test_it_finds_a_part_of_a_value_as_it_is(self, search, term, found):
        assert search(term) == found

    def test_an_export_has_what_it_finds(self, search):
        answer = client_of("bea", group="Auditor").get(f"{LIST}export/jsonl/", {"q": "spam"})
        [line] = answer.getvalue().decode().splitlines()
        assert json.loads(line)["payload"] == {"reason": "Spam, spam"}

    def test_it_finds_no_salt(self, search):
        with in_tenant("alpha"):
            salt = Signal.objects.get(dedupe_key="two").personal["reason"][0]
        assert search(salt) == []

    def test_it_finds_nothing_that_was_erased(self, search):
        with in_tenant("alpha"):
            Signal.objects.filter(dedupe_key="one").erase()
        assert search(PHRASE) == []
        assert search("spam") == ["two"]

    def test_it_looks_at_the_newest_of_what_the_filters_leave(self, search, monkeypatch):
        monkeypatch.setattr("directives.admin.filters.COUNTED", 1)
        assert search("spam") == []
        with in_tenant("alpha"):
            bus.emit("test.new", dedupe_key="new", actor=TESTER)
        assert search("spam", name="forum.post.hidden") == []
        monkeypatch.setattr("directives.admin.filters.COUNTED", 2)
        assert search("spam", name="forum.post.hidden") == ["two"]
