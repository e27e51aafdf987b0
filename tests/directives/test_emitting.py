"""Signals of handlers: one key for each name and subject, and no signal twice."""

import re
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from directives import runner
from directives.errors import DirectiveError
from directives.handlers import Context
from directives.models import Directive
from directives.outcomes import Kind
from directives.requesting.dry_run import dry_run
from signals.models import Signal
from signals.types import ID_LENGTH, KEY_LENGTH, NAME_LENGTH, Subject, bounded_key
from tests.support import TESTER, ask, ask_animal, effects, run


def gossiped(directive):
    found = Signal.objects.filter(causation_id=str(directive.pk), name="zoo.animal.gossiped")
    return [(str(signal.subject), signal.dedupe_key) for signal in found]


def test_subjects_of_two_types_with_one_id_are_two_signals(alpha):
    directive = ask_animal("gossip", note="- zoo.keeper=7 zoo.visitor=7 zoo.animal=7")
    assert run(directive).kind == Kind.SUCCEEDED
    stem = "zoo.animal.gossiped:alpha"
    assert gossiped(directive) == [
        ("zoo.animal:cat", f"{stem}:cat:{directive.pk}"),
        ("zoo.keeper:7", f"{stem}:7:{directive.pk}:zoo.keeper"),
        ("zoo.visitor:7", f"{stem}:7:{directive.pk}:zoo.visitor"),
        ("zoo.animal:7", f"{stem}:7:{directive.pk}:zoo.animal"),
    ]
    assert run(directive, rerun=True).kind == Kind.SUCCEEDED
    assert [key for _, key in gossiped(directive)[4:]] == [f"{key}:2" for _, key in gossiped(directive)[:4]]


@pytest.mark.parametrize("caught", [0, 1])
@pytest.mark.parametrize(
    ("note", "subject"), [("- -", "zoo.animal:cat"), ("zoo.keeper=7 - zoo.keeper=7", "zoo.keeper:7")]
)
def test_the_same_said_twice_about_one_subject_fails_and_leaves_nothing(alpha, note, subject, caught):
    directive = ask_animal("gossip", note=note, times=caught)
    outcome = run(directive)
    expected = f"DirectiveError: emit: zoo.animal.gossiped was emitted about {subject} already"
    assert (outcome.kind, outcome.reason) == (Kind.FAILED, expected)
    assert (effects(f"cat {note}"), gossiped(directive), directive.attempt) == (0, [], 1)


def test_the_animal_itself_by_its_subject_is_the_same_one(alpha):
    directive = ask_animal("gossip", note="- zoo.animal=cat")
    assert run(directive).kind == Kind.FAILED


def test_in_a_group_only_the_one_that_repeats_itself_fails(alpha):
    run(ask_animal("gossip", "first"))
    asked = [
        ask_animal("gossip", animal, note=note)
        for animal, note in zip("abc", ["-", "- -", "-"], strict=True)
    ]
    assert sorted(outcome.kind for outcome in runner.run_due()) == ["failed", "succeeded", "succeeded"]
    assert [len(gossiped(one)) for one in asked] == [1, 0, 1]


def test_a_dry_run_says_so_too(alpha):
    found = dry_run("zoo.animal.gossip", {"animal": "cat", "note": "- -"}, actor=TESTER)
    assert (
        found.error == "DirectiveError: emit: zoo.animal.gossiped was emitted about zoo.animal:cat already"
    )


def test_a_post_that_a_directive_creates_is_about_the_post(forum):
    payload = {
        "thread_id": str(forum.thread.pk),
        "content": "x",
        "author_id": "a",
        "client_request_id": "1",
    }
    directive = ask("forum.post.create", payload).directive
    run(directive)
    signal = Signal.objects.get(name="forum.post.created", causation_id=str(directive.pk))
    assert signal.dedupe_key == f"forum.post.created:alpha:{signal.subject_id}:{directive.pk}:forum.post"


# Short parts of few kinds meet often.
PARTS = st.sampled_from(["a", ":", "a.b", "-", "1", "2", ":a.b", ":2", "x" * 90])
IDS = st.lists(PARTS, min_size=1, max_size=3).map(lambda parts: "".join(parts)[:ID_LENGTH])
TYPES = st.sampled_from(["a.b", "b.a", "1.2", "a.b" * 40, "a" * 200 + ".b"])
NAMES = st.sampled_from(["a.b", "zoo.animal.gossiped", "n" * 200 + ".n"])
SUBJECTS = st.none() | st.builds(Subject, TYPES, IDS)
DIRECTIVES = st.sampled_from([uuid4(), uuid4()])


def spoken(directive, name, about, number):
    """Return the key and what it stands for, as PostgreSQL would compare them."""
    context = Context(directive, "alpha")
    directive.earlier_successes = number - 1
    context.emit(name, subject=about)
    [signal] = context.signals
    return signal.dedupe_key, (name, str(signal.subject), directive.pk, number)


@given(own=SUBJECTS, said=st.lists(st.tuples(DIRECTIVES, NAMES, SUBJECTS, st.integers(1, 12)), max_size=20))
def test_no_two_things_that_can_be_said_have_one_key(own, said):
    facts = {}
    for pk, name, about, number in said:
        directive = Directive(
            id=pk,
            name="zoo.animal.gossip",
            actor_type="system",
            actor_id="tester",
            subject_type=own.type if own else "",
            subject_id=own.id if own else "",
        )
        key, fact = spoken(directive, name, about, number)
        assert facts.setdefault(key, fact) == fact
        assert len(key) <= KEY_LENGTH
        if about in (None, own) and number == 1 and len(key) < KEY_LENGTH:
            assert key == f"{name}:alpha:{own.id if own else '-'}:{pk}"
    assert len(facts) == len(set(facts.values()))


@given(st.lists(st.tuples(NAMES, SUBJECTS), max_size=12))
def test_the_first_of_each_name_and_subject_is_taken_and_every_other_an_error(said):
    context = Context(
        Directive(subject_type="a.b", subject_id="7", actor_type="system", actor_id="x"), "alpha"
    )
    known = set()
    for name, about in said:
        fact = (name, about or Subject("a.b", "7"))
        if fact in known:
            with pytest.raises(
                DirectiveError, match=re.escape(f"emit: {name} was emitted about {fact[1]}")
            ):
                context.emit(name, subject=about)
        else:
            context.emit(name, subject=about)
        known.add(fact)
    assert {(signal.name, signal.subject) for signal in context.signals} == known
    assert len(context.signals) == len(known)


def test_the_longest_name_and_ids_have_different_keys_that_can_be_stored(alpha):
    directive = ask_animal("gossip")
    directive.subject_type, directive.subject_id = "a" * (NAME_LENGTH - 2) + ".a", "i" * ID_LENGTH
    name = "n" * (NAME_LENGTH - 2) + ".n"
    context = Context(directive, "alpha")
    for about in (None, *(Subject(directive.subject_type, "i" * (ID_LENGTH - 1) + end) for end in "jk")):
        context.emit(name, subject=about)
    keys = [signal.dedupe_key for signal in context.signals]
    assert [len(key) for key in keys] == [KEY_LENGTH] * 3
    assert len(set(keys)) == 3
    assert all(re.fullmatch("[0-9a-f]{64}", key.rpartition(":")[2]) for key in keys)


@given(st.text(max_size=3), st.integers(KEY_LENGTH - 3, KEY_LENGTH + 5), st.text(max_size=3))
def test_a_key_is_cut_only_when_it_has_to_be(beginning, length, end):
    text = beginning.ljust(length, "x") + end
    key = bounded_key(text)
    assert len(key) == min(len(text), KEY_LENGTH)
    assert key == text or (len(text) > KEY_LENGTH and text.startswith(key[:447]) and key[447] == ":")
