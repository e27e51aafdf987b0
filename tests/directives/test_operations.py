"""Operations on a directive: each stores its actor, its reason and a signal."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone

from directives import operations, runner, tasks
from directives.errors import DirectiveNotFound, IllegalTransition, PermissionRefused, Refused
from directives.models import Directive
from directives.outcomes import Kind
from fleetprompt.tenants.context import NoActiveTenant, in_tenant
from signals.models import Signal
from signals.types import Actor
from tests.recipes import accounts
from tests.support import TESTER, ask_animal, change, claim, make_due, messages, run, signal_names

MODERATOR = Actor("agent", "mod", "The moderator")


def later(hours=1):
    return timezone.now() + timedelta(hours=hours)


def snooze(directive, until=None, **options):
    return operations.snooze(
        directive.id, until or later(), **{"actor": MODERATOR, "reason": "not now", **options}
    )


def cancel(directive, **options):
    return operations.cancel(directive.id, **{"actor": MODERATOR, "reason": "no", **options})


def rerun(directive, **options):
    return operations.rerun(directive.id, **{"actor": MODERATOR, "reason": "again", **options})


def run_now(directive, **options):
    return operations.run_now(directive.id, **{"actor": MODERATOR, "reason": "it is urgent", **options})


OPERATIONS = {"snooze": snooze, "run_now": run_now, "cancel": cancel, "rerun": rerun}
PERMISSIONS = {"snooze": "snooze", "run_now": "snooze", "cancel": "cancel", "rerun": "rerun"}


def ready_for(operation):
    """Make a directive on which the operation is possible."""
    directive = ask_animal("work")
    if operation == "rerun":
        run(directive)
    return directive


@pytest.mark.parametrize(
    ("operation", "signal"),
    [
        ("snooze", "snoozed"),
        ("run_now", "run_requested"),
        ("cancel", "canceled"),
        ("rerun", "rerun_requested"),
    ],
)
def test_an_operation_leaves_its_own_actor_and_reason(alpha, operation, signal):
    directive = ready_for(operation)
    OPERATIONS[operation](directive, reason="because I say so")
    stored = Signal.objects.get(name=f"directive.{signal}")
    assert (stored.actor, stored.payload["reason"]) == (MODERATOR, "because I say so")
    assert (stored.subject, stored.causation_id) == (directive.subject, str(directive.id))
    directive.refresh_from_db()
    assert directive.actor == TESTER, "who asked for it stays on record"


def test_a_snoozed_directive_runs_at_its_new_time_and_not_when_woken_earlier(alpha):
    directive = ask_animal("work")
    until = later()
    assert snooze(directive, until).scheduled_at == until
    assert tasks.run_time_slice() == 0
    assert run(directive).kind == Kind.SNOOZED
    assert (directive.status, directive.attempt) == ("requested", 0)
    make_due(directive)
    assert tasks.run_time_slice() == 1
    assert signal_names(directive)[:3] == ["directive.requested", "directive.snoozed", "directive.started"]


def test_snoozing_twice_leaves_a_signal_each(alpha):
    directive = ask_animal("work")
    snooze(directive, reason="first"), snooze(directive, later(2), reason="second")
    snoozed = Signal.objects.filter(name="directive.snoozed")
    assert [signal.payload["reason"] for signal in snoozed] == ["first", "second"]
    assert messages() == 5, "the request, and for each snooze its own time and those behind it"


def test_a_snoozed_directive_that_is_to_run_now_is_due_and_woken_for(alpha):
    directive = ask_animal("work", scheduled_at=later())
    sent = messages()
    assert run_now(directive).scheduled_at <= timezone.now()
    assert messages() == sent + 1
    assert tasks.run_time_slice() == 1
    directive.refresh_from_db()
    assert directive.status == "succeeded"
    assert signal_names(directive)[:3] == [
        "directive.requested",
        "directive.run_requested",
        "directive.started",
    ]


def test_run_now_goes_behind_what_is_due_and_before_what_is_for_later(alpha):
    late, first, last = (ask_animal("work", scheduled_at=at) for at in (later(), None, later(2)))
    run_now(late)
    assert [outcome.directive_id for outcome in runner.run_due()] == [first.id, late.id]
    assert run(last).kind == Kind.SNOOZED


def test_run_now_of_a_retry_keeps_its_place_and_costs_no_attempt(alpha):
    directive = ask_animal("stumble", times=1, seconds=3600.0)
    assert run(directive).kind == Kind.RETRY_SCHEDULED
    behind = ask_animal("work")
    queued = directive.queued_at
    assert run_now(directive).queued_at == queued
    assert [outcome.directive_id for outcome in runner.run_due()] == [directive.id, behind.id]


def test_run_now_of_what_is_due_already_moves_nothing_and_is_on_record_each_time(alpha):
    directive = ask_animal("work")
    before = directive.scheduled_at, directive.queued_at
    run_now(directive)
    again = run_now(directive)
    assert (again.scheduled_at, again.queued_at) == before
    assert Signal.objects.filter(name="directive.run_requested").count() == 2


@pytest.mark.parametrize("status", ["succeeded", "failed", "canceled"])
def test_what_has_ended_is_not_run_now(alpha, status):
    directive = ask_animal("refuse" if status == "failed" else "work")
    cancel(directive) if status == "canceled" else run(directive)
    with pytest.raises(IllegalTransition, match=f"is {status}; only one that is requested can be run now"):
        run_now(directive)


def test_cancel_rerun_cancel_leaves_a_signal_each(alpha):
    directive = ask_animal("work")
    cancel(directive), rerun(directive), cancel(directive), rerun(directive)
    run(directive)
    assert signal_names(directive) == [
        "directive.requested",
        *["directive.canceled", "directive.rerun_requested"] * 2,
        "directive.started",
        "zoo.animal.worked",
        "directive.succeeded",
    ]
    assert directive.attempt == 1


def test_a_canceled_directive_does_not_run(alpha):
    directive = ask_animal("work")
    assert cancel(directive).completed_at
    assert runner.run_due() == []
    assert run(directive).kind == Kind.DISCARDED


def test_a_rerun_keeps_the_row_and_its_history_and_counts_on(alpha):
    directive = ask_animal("refuse")
    for attempt in (1, 2, 3):
        if attempt > 1:
            rerun(directive)
        assert run(directive).kind == Kind.FAILED
        assert directive.attempt == attempt
    failures = Signal.objects.filter(name="directive.failed").values_list("payload__attempt", flat=True)
    assert list(failures) == [1, 2, 3]
    assert Directive.objects.count() == 1


def test_a_rerun_has_all_its_attempts_again(alpha):
    directive = ask_animal("stumble", times=99)
    for last in (3, 6):
        while run(directive).kind == Kind.RETRY_SCHEDULED:
            make_due(directive)
        assert (directive.status, directive.attempt) == ("failed", last)
        rerun(directive)


def test_a_rerun_of_a_name_that_nobody_knows_any_more_is_possible(alpha):
    directive = ask_animal("work")
    run(directive)
    change(directive, name="zoo.animal.extinct")
    rerun(directive)
    assert run(directive).kind == Kind.RETRY_SCHEDULED


@pytest.mark.parametrize("operation", OPERATIONS)
def test_nothing_can_be_done_to_a_running_directive(alpha, operation):
    directive = ask_animal("work")
    claim(directive)
    before = Directive.objects.values().get(), Signal.objects.count(), messages()
    with pytest.raises(IllegalTransition, match=f"{directive.id} is running"):
        OPERATIONS[operation](directive)
    assert (Directive.objects.values().get(), Signal.objects.count(), messages()) == before


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_directive_that_does_not_exist_is_not_found(alpha, operation):
    with pytest.raises(DirectiveNotFound, match="no directive"):
        OPERATIONS[operation](Directive(id=uuid4()))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_another_tenants_directive_is_not_found(database, operation):
    with in_tenant("alpha"):
        directive = ready_for(operation)
    with in_tenant("beta"), pytest.raises(DirectiveNotFound):
        OPERATIONS[operation](directive)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_nothing_is_done_outside_a_tenant(database, operation):
    with pytest.raises(NoActiveTenant):
        OPERATIONS[operation](Directive(id=uuid4()))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "reason", ["", "  ", "x" * 1001, "a\x00b", None, "my password is in AKIA" + "A" * 16]
)
def test_an_operation_needs_a_proper_reason(alpha, operation, reason):
    directive = ready_for(operation)
    before = Directive.objects.values().get()
    with pytest.raises(Refused, match="reason: expected"):
        OPERATIONS[operation](directive, reason=reason)
    assert Directive.objects.values().get() == before


@pytest.mark.parametrize(
    "until",
    [
        lambda: timezone.now() - timedelta(seconds=1),
        lambda: timezone.now().replace(tzinfo=None),
        lambda: "tomorrow",
    ],
)
def test_snoozing_into_the_past_or_to_no_time_is_refused(alpha, until):
    directive = ask_animal("work")
    with pytest.raises(Refused, match="until: expected a time"):
        snooze(directive, until())
    directive.refresh_from_db()
    assert directive.scheduled_at < timezone.now()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_user_needs_the_operations_own_permission(alpha, operation):
    ann = accounts.user.make(username="ann")
    who = Actor("user", str(ann.pk), "ann")
    directive = ready_for(operation)
    ann.user_permissions.add(Permission.objects.get(codename="request_zoo.animal.work"))
    needed = f"{PERMISSIONS[operation]}_zoo.animal.work"
    with pytest.raises(PermissionRefused, match=f"needs directives.{needed}"):
        OPERATIONS[operation](directive, actor=who)
    ann.user_permissions.add(Permission.objects.get(codename=needed))
    OPERATIONS[operation](directive, actor=who)
    assert Signal.objects.filter(actor_type="user", actor_label="ann").count() == 1


def test_a_user_who_may_not_rerun_may_not_do_it_by_running_either(alpha):
    directive = ready_for("rerun")
    ann = accounts.user.make(username="ann")
    with pytest.raises(PermissionRefused):
        runner.run(directive.id, rerun=True, actor=Actor("user", str(ann.pk)))
    directive.refresh_from_db()
    assert directive.status == "succeeded"
