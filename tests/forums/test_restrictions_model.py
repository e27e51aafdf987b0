"""Random sequences of restricting, lifting, expiry, undo, rerun and crash, compared with a plain model."""

from contextlib import suppress
from datetime import timedelta
from itertools import count

import pytest
from django.contrib.auth.models import Permission
from django.db import DatabaseError, connection
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from directives import operations
from directives.authority.permissions import codename
from directives.errors import PermissionRefused
from directives.models import Directive, Restriction
from directives.requests import request, request_many
from directives.runner import run, run_due
from fleetprompt.errors import Refused
from forums.models import Post, Thread
from signals.models import Signal
from signals.types import Actor
from tests.forums.model import (
    END,
    LIFTING,
    RESCHEDULE,
    RESTRICTING,
    TERMINAL,
    Command,
    Impossible,
    Record,
    World,
)
from tests.recipes import accounts
from tests.support import (
    TESTER,
    begun,
    claim,
    empty_tenants,
    expire_lease,
    make_due,
    make_forum,
    meanwhile,
    owner_cursor,
    somebody_waits,
    thinned,
    wait_until,
)

numbers = count(1)
NAMES = [*RESTRICTING, *LIFTING]
ALL = [*NAMES, END, RESCHEDULE]
HELPER_MAY_NOT = ("forum.post.delete", "forum.thread.archive")
TIMER = Actor("system", "timer")
MAX_CRASHES = 2  # of one directive, so that its attempts are not used up
some = st.integers(0, 1000)
actors = st.integers(0, 4)
# Between what the handler changes and the commit; told by the session that executes.
FAULTS = """
CREATE OR REPLACE FUNCTION fail_when_told() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CASE current_setting('tests.fault', true)
        WHEN 'bug' THEN RAISE EXCEPTION 'a planted error';
        WHEN 'conflict' THEN RAISE EXCEPTION 'a planted error' USING ERRCODE = 'serialization_failure';
        WHEN 'disconnect' THEN PERFORM pg_terminate_backend(pg_backend_pid());
        ELSE NULL;
    END CASE;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER fail_when_told BEFORE UPDATE ON directives_directive
   FOR EACH ROW WHEN (NEW.status = 'succeeded') EXECUTE FUNCTION fail_when_told();
"""


class Walk(RuleBasedStateMachine):
    """One walk through a forum with two posts and a thread, and five who moderate it."""

    def __init__(self):
        super().__init__()
        empty_tenants()
        forum = make_forum(posts=2)
        keeper, helper = accounts.staff.make(username="keeper"), accounts.staff.make(username="helper")
        for user, names in ((keeper, ALL), (helper, set(ALL) - {*HELPER_MAY_NOT})):
            codenames = [codename("request", name) for name in names]
            user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        self.helper = Actor("user", str(helper.pk), "helper")
        self.actors = [
            Actor("user", str(keeper.pk), "keeper"),
            self.helper,
            # Another one, although its id is the same.
            Actor("agent", str(helper.pk)),
            Actor("agent", "mira"),
            Actor("system", "import"),
        ]
        records = [Record("post", str(post.pk)) for post in forum.posts]
        self.world = World([*records, Record("thread", str(forum.thread.pk))], self.may)
        self.began = timezone.now()
        self.batches = []

    def may(self, actor, name):
        return actor != self.helper or name not in HELPER_MAY_NOT

    def hours(self, number):
        return self.began + timedelta(hours=number) if number else None

    def one_of(self, things, which):
        return things[which % len(things)] if things else None

    def stored(self, command):
        return Directive.objects.get(pk=command.id)

    def wanted(self, name, which):
        """Return which record a directive is about, and its payload."""
        kind = name.split(".")[1]
        record = self.one_of([one for one in self.world.records if one.kind == kind], which)
        return record, {f"{kind}_id": record.id}

    def ask(self, name, record, payload, actor, **more):
        """Request what the model says may be requested, or check that it is refused."""
        later, until = more.pop("later", False), more.pop("until", None)
        options = {
            "actor": actor,
            "reason": f"why {next(numbers)}",
            "idempotency_key": f"walk {next(numbers)}",
        }
        if later:
            options["scheduled_at"] = self.began + timedelta(minutes=30)
        if name in NAMES:
            options["expires_at"] = until
        if not self.may(actor, name):
            with pytest.raises(PermissionRefused):
                request(name, payload, **options)
            return
        directive = request(name, payload, **options).directive
        more |= {"reason": options["reason"], "is_due": not later}
        self.remember(Command(directive.pk, name, record, actor, until, **more))

    def remember(self, command):
        self.world.commands.append(command)
        return command

    @rule(
        name=st.sampled_from(NAMES),
        which=some,
        actor=actors,
        hours=st.integers(0, 3),
        later=st.booleans(),
        at_once=st.booleans(),
    )
    def request(self, name, which, actor, hours, later, at_once):
        record, payload = self.wanted(name, which)
        until = self.hours(hours)
        self.ask(name, record, payload, self.actors[actor], until=until, later=later and not at_once)
        if at_once:
            self.run_due()

    @rule(which=st.lists(st.tuples(st.sampled_from(NAMES), some), min_size=2, max_size=5), actor=actors)
    def request_batch(self, which, actor):
        actor, items, commands = self.actors[actor], [], []
        if any(not self.may(actor, name) for name, _ in which):
            return
        for name, number in which:
            record, payload = self.wanted(name, number)
            items.append({"name": name, "payload": payload, "idempotency_key": f"walk {next(numbers)}"})
            commands.append(Command(None, name, record, actor, reason="many"))
        for command, one in zip(commands, request_many(items, actor=actor, reason="many"), strict=True):
            command.id = self.remember(command) and one.directive.pk
        self.batches.append((one.directive.correlation_id, commands))

    @rule(which=some, actor=actors, later=st.booleans())
    def end(self, which, actor, later):
        if restriction := self.one_of(self.world.restrictions, which):
            payload, more = self.about(restriction), {"about": restriction, "later": later}
            self.ask(END, restriction.record, payload, self.actors[actor], **more)
            self.run_due()

    @rule(which=some, actor=actors, hours=st.integers(0, 3), later=st.booleans())
    def reschedule(self, which, actor, hours, later):
        if restriction := self.one_of(self.world.restrictions, which):
            until, payload = self.hours(hours), self.about(restriction)
            if until:
                payload["until"] = until.isoformat()
            more = {"about": restriction, "until": until, "later": later}
            self.ask(RESCHEDULE, restriction.record, payload, self.actors[actor], **more)
            self.run_due()

    def about(self, restriction):
        subject = {"type": f"forum.{restriction.record.kind}", "id": restriction.record.id}
        return {"subject": subject, "restriction_id": str(restriction.id)}

    @rule(name=st.sampled_from(NAMES), which=some, actor=actors)
    def ask_without_a_key(self, name, which, actor):
        record, payload = self.wanted(name, which)
        actor = self.actors[actor]
        if not self.may(actor, name):
            return
        first, second = (request(name, payload, actor=actor, reason="twice") for _ in range(2))
        assert (first.directive, second.created) == (second.directive, False)
        if first.created:
            self.remember(Command(first.directive.pk, name, record, actor, reason="twice"))
            return
        [known] = [one for one in self.world.commands if one.id == first.directive.pk]
        assert known.status in ("requested", "running", "succeeded")
        assert known.status != "succeeded" or known.left == record.revision

    @rule()
    def run_due(self):
        due = self.due()
        run_due()
        for command in due:
            self.world.execute(command)
        self.bind()

    def due(self):
        """Return the commands whose turn comes, in the order of their places in line."""
        known = {one.id: one for one in self.world.commands}
        waiting = Directive.objects.filter(status__in=["requested", "running"])
        places = sorted((one.status != "running", one.queued_at, one.pk) for one in waiting)
        return [known[pk] for _, _, pk in places if known[pk].is_due]

    def bind(self):
        """Learn the ids of new restrictions and timers; there is a timer wherever one is wanted."""
        for restriction in self.world.restrictions:
            if not restriction.id:
                known = [one.id for one in self.world.restrictions if one.id]
                row = Restriction.objects.exclude(pk__in=known).get(directive_id=restriction.by.id)
                restriction.id = row.pk
        for restriction, until in self.world.wanted_timers:
            timers = Directive.objects.filter(
                name=END,
                actor_type=TIMER.type,
                actor_id=TIMER.id,
                scheduled_at=until,
                payload__restriction_id=str(restriction.id),
            )
            [timer] = timers.exclude(pk__in=[one.id for one in self.world.commands])
            about = {"about": restriction, "is_timer": True, "is_due": False}
            self.remember(Command(timer.pk, END, restriction.record, TIMER, until, **about))
        self.world.wanted_timers.clear()
        for command, end in self.world.wanted_ends:
            ends = Directive.objects.filter(
                name=end.name,
                actor_type=TIMER.type,
                actor_id=TIMER.id,
                scheduled_at=command.until,
                causation_id=str(command.id),
            )
            [row] = ends.exclude(pk__in=[one.id for one in self.world.commands])
            end.id, end.actor, end.is_end, end.is_due = row.pk, TIMER, True, False
            self.remember(end)
        self.world.wanted_ends.clear()

    def waiting(self, which, is_wanted=lambda one: True):
        """Return one of the requested commands that are wanted."""
        return self.one_of(
            [one for one in self.world.commands if one.status == "requested" and is_wanted(one)], which
        )

    @rule(which=some, by_hand=st.booleans())
    def time_comes(self, which, by_hand):
        if command := self.waiting(which, lambda one: not one.is_due):
            if by_hand:
                operations.run_now(command.id, actor=TESTER, reason="it is time")
            else:
                make_due(self.stored(command))
            command.is_due = True
            self.run_due()

    @rule(which=some)
    def snooze(self, which):
        if command := self.waiting(which, lambda one: not one.is_timer):
            operations.snooze(command.id, self.began + timedelta(hours=9), actor=TESTER, reason="later")
            command.is_due = False

    @rule(which=some)
    def cancel(self, which):
        if command := self.waiting(which):
            operations.cancel(command.id, actor=TESTER, reason="no")
            command.status = "canceled"

    @rule(which=some)
    def rerun(self, which):
        if command := self.one_of([one for one in self.world.commands if one.status in TERMINAL], which):
            operations.rerun(command.id, actor=TESTER, reason="again")
            self.world.again(command)
            self.run_due()

    @rule(which=st.integers(-3, -1) | some, actor=actors, at_once=st.booleans())
    def undo(self, which, actor, at_once):
        if not (command := self.one_of(self.world.commands, which)):
            return
        actor = self.actors[actor]
        expected = self.expected_undo(command, actor)
        try:
            found = operations.undo(command.id, actor=actor, reason="a mistake")
        except Refused as refusal:
            found = refusal
        self.check_undo(command, actor, expected, found)
        if at_once:
            self.run_due()

    @rule(which=some, actor=actors, at_once=st.booleans())
    def undo_batch(self, which, actor, at_once):
        if not (batch := self.one_of(self.batches, which)):
            return
        correlation, commands = batch
        actor = self.actors[actor]
        if any(not self.may(actor, one.name) for one in commands):
            with pytest.raises(PermissionRefused):
                operations.undo_batch(correlation, actor=actor, reason="a mistake")
            return
        members = [one for one in self.world.commands if self.stored(one).correlation_id == correlation]
        expected = {one.id: self.expected_undo(one, actor) for one in members}
        done = operations.undo_batch(correlation, actor=actor, reason="a mistake")
        for one in members:
            found = done.refused.get(one.id) or done.requested[one.id]
            self.check_undo(one, actor, expected[one.id], found)
        if at_once:
            self.run_due()

    def expected_undo(self, command, actor):
        try:
            undo = self.world.undoing(command)
        except Impossible:
            return None
        if not self.may(actor, command.name) or not self.may(actor, undo.name):
            return None
        return undo

    def check_undo(self, command, actor, expected, found):
        """Compare the answer to an undo with the expected one, and remember what was requested."""
        if isinstance(found, Refused):
            assert expected is None, (command, str(found))
            return
        assert expected is not None, (command, found)
        known = command.undo
        if known and known.status not in ("failed", "canceled"):
            assert (found.directive.pk, found.created) == (known.id, False)
            return
        assert found.created
        expected.id, expected.actor, expected.reason = found.directive.pk, actor, "a mistake"
        command.undo = self.remember(expected)
        payload = found.directive.payload
        assert (found.directive.name, found.directive.subject_id) == (expected.name, expected.record.id)
        assert payload.get("expected_revision") == expected.expected
        assert payload.get("restriction_id") == (str(expected.about.id) if expected.about else None)
        if expected.name == RESCHEDULE:
            assert payload.get("until") == (
                expected.until and expected.until.isoformat().replace("+00:00", "Z")
            )
        else:
            assert found.directive.expires_at == expected.until

    @rule(which=some, fault=st.sampled_from(["bug", "conflict", "disconnect"]))
    def crash_before_the_commit(self, which, fault):
        """The handler has done everything, and the directive's end is not stored."""
        if not (command := self.first_in_line(which)):
            return
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('tests.fault', %s, false)", [fault])
        try:
            run(command.id)
        finally:
            with suppress(DatabaseError), connection.cursor() as cursor:
                cursor.execute("SELECT set_config('tests.fault', '', false)")
        self.after_a_crash(command, fault)

    @rule(which=some)
    def lose_the_lease_before_the_commit(self, which):
        if not (command := self.first_in_line(which)):
            return
        # Waits in the middle of its changes.
        with owner_cursor() as cursor:
            table = "forums_post" if command.record.kind == "post" else "forums_thread"
            cursor.execute("BEGIN")
            cursor.execute(f"SELECT FROM {table} WHERE id = %s FOR UPDATE", [command.record.id])
            with meanwhile(lambda: run(command.id)) as outcomes:
                directive = self.stored(command)
                wait_until(
                    lambda: begun(directive) and somebody_waits(), "the attempt waits for its subject"
                )
                expire_lease(directive)
                claim(directive)
                expire_lease(directive)
                cursor.execute("COMMIT")
        assert outcomes[0].kind == "discarded"
        command.status = "running"

    def first_in_line(self, which):
        firsts = {}
        for command in self.due():
            firsts.setdefault(command.record, command)
        command = self.one_of([one for one in firsts.values() if one.crashes < MAX_CRASHES], which)
        if command:
            command.crashes += 1
        return command

    def after_a_crash(self, command, fault):
        """Let a retry's time come, or a lease run out."""
        command.status = self.stored(command).status
        if command.status == "requested":
            make_due(self.stored(command))
        elif command.status == "running":
            expire_lease(self.stored(command))
        elif fault != "bug":
            # It was executed again at once, or it fails without the fault.
            self.world.execute(command)
            self.bind()
        else:
            assert command.status == "failed"

    @invariant()
    def everything_agrees(self):
        self.directives_are_as_expected()
        self.restrictions_are_as_expected()
        self.the_forum_is_as_expected()
        self.signals_tell_what_was_done()
        self.results_say_what_was_done()
        self.whatever_is_to_end_has_a_timer()

    def directives_are_as_expected(self):
        assert set(Directive.objects.values_list("pk", "name", "status")) == {
            (one.id, one.name, one.status) for one in self.world.commands
        }

    def restrictions_are_as_expected(self):
        fields = (
            "pk",
            "subject_id",
            "kind",
            "directive_id",
            "name",
            "actor_type",
            "actor_id",
            "until",
            "ended_by",
        )
        assert set(Restriction.objects.values_list(*fields)) == {
            (
                one.id,
                one.record.id,
                one.kind,
                one.by.id,
                one.by.name,
                one.by.actor.type,
                one.by.actor.id,
                one.until,
                one.ended_by and one.ended_by.id,
            )
            for one in self.world.restrictions
        }

    def the_forum_is_as_expected(self):
        rows = {(str(one.pk), one.revision, (one.status,)) for one in Post.objects.all()}
        rows |= {(str(one.pk), one.revision, (one.status, one.is_hidden)) for one in Thread.objects.all()}
        assert rows == {(one.id, one.revision, one.columns) for one in self.world.records}

    def signals_tell_what_was_done(self):
        told = {one.id: [] for one in self.world.commands}
        for signal in Signal.objects.exclude(causation_id="").exclude(name__startswith="directive."):
            [directive] = [pk for pk in told if str(pk) == signal.causation_id]
            facts = signal.payload
            began, ended = facts.get("restriction"), sorted(facts.get("ended", []))
            told[directive].append(
                (signal.name, facts["before"], facts["after"], facts["revision"], began, ended)
            )
        assert told == {
            one.id: [
                (*said, began and str(began.id), sorted(str(restriction.id) for restriction in ended))
                for *said, began, ended in one.signals
            ]
            for one in self.world.commands
        }

    def results_say_what_was_done(self):
        results = dict(Directive.objects.values_list("pk", "result"))
        for one in self.world.commands:
            if one.status == "succeeded":
                found = results[one.id]
                told = (
                    found["changed"],
                    sorted(found.get("still_restricted_by", [])),
                    found.get("superseded_by"),
                )
                still = sorted(str(restriction.by.id) for restriction in one.result["still"])
                by = one.result["superseded_by"]
                assert told == (one.result["changed"], still, by and str(by.id)), one

    def whatever_is_to_end_has_a_timer(self):
        """Unless somebody canceled it."""
        for restriction in self.world.restrictions:
            if restriction.until and not restriction.ended_by:
                timers = [
                    one
                    for one in self.world.commands
                    if one.is_timer and one.about is restriction and one.until == restriction.until
                ]
                assert any(one.status in ("requested", "canceled") for one in timers), restriction


@pytest.fixture
def faults(alpha):
    """Have the database fail when it is told to, in the tenant alpha."""
    with owner_cursor() as cursor:
        cursor.execute(FAULTS)
    yield
    with owner_cursor() as cursor:
        cursor.execute("DROP FUNCTION fail_when_told CASCADE")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("walks", thinned([40, 300], every=2))
def test_whatever_happens_restrictions_and_the_forum_agree(faults, walks):
    run_state_machine_as_test(
        Walk,
        settings=settings(
            max_examples=walks,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
