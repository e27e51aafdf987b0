"""The animals."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from uuid import uuid4

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django_q.exceptions import TimeoutException

from directives import requests
from directives.errors import DirectiveError, Retry
from directives.executing.retry import RetryPolicy
from fleetprompt.tenants.context import in_tenant
from forums.models import Thread
from signals.personal import Personal
from signals.types import Subject
from tests.zoo.payloads import AnimalHandler, leave_effect

QUICK = RetryPolicy(max_attempts=3, first=0.05, factor=1.0, longest=0.05, jitter=0.0)


class Work(AnimalHandler):
    """Leaves its effect after sleeping, and says so: the one that behaves."""

    name = "zoo.animal.work"
    label = "Work"

    def execute(self, context, payload):
        began = time.time()
        leave_effect(payload)
        time.sleep(payload.seconds)
        context.emit("zoo.animal.worked", {"note": payload.note})
        return {"note": payload.note, "began": began, "ended": time.time()}


class Whisper(AnimalHandler):
    """Leaves its effect, and a signal with its note as a personal value."""

    name = "zoo.animal.whisper"
    label = "Whisper"

    def execute(self, context, payload):
        leave_effect(payload)
        context.emit("zoo.animal.whispered", {"reason": Personal(payload.note), "loud": False})
        return {}


class Roam(Work):
    """Works without an order among its kind."""

    name = "zoo.animal.roam"
    label = "Roam"
    ordered = False


class Wait(AnimalHandler):
    """Leaves its effect and waits for an advisory lock named after its note, the first `times` attempts."""

    name = "zoo.animal.wait"
    label = "Wait"
    retry = QUICK

    def execute(self, context, payload):
        leave_effect(payload)
        if context.directive.attempt <= payload.times:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [payload.note])
        context.emit("zoo.animal.waited")
        return {"attempt": context.directive.attempt}


class Die(AnimalHandler):
    """Leaves its effect and kills its worker, the first `times` attempts."""

    name = "zoo.animal.die"
    label = "Die"
    retry = QUICK
    timeout = 1.0

    def execute(self, context, payload):
        leave_effect(payload)
        if context.directive.attempt <= payload.times:
            os.kill(os.getpid(), signal.SIGKILL)
        context.emit("zoo.animal.survived")
        return {}


class Stumble(AnimalHandler):
    """Leaves its effect and asks for a retry, the first `times` attempts."""

    name = "zoo.animal.stumble"
    label = "Stumble"
    retry = QUICK

    def execute(self, context, payload):
        leave_effect(payload)
        context.emit("zoo.animal.stumbled")
        if context.directive.attempt <= payload.times:
            raise Retry("not yet", after=payload.seconds or None)
        return {}


class Refuse(AnimalHandler):
    """Leaves its effect and says that it can never work."""

    name = "zoo.animal.refuse"
    label = "Refuse"

    def execute(self, context, payload):
        leave_effect(payload)
        context.emit("zoo.animal.refused")
        raise DirectiveError("never")


class Crash(AnimalHandler):
    """Leaves its effect and has a bug with a message that does not end."""

    name = "zoo.animal.crash"
    label = "Crash"

    def execute(self, context, payload):
        leave_effect(payload)
        raise KeyError("\x00 bug " * 1000)


class Quit(AnimalHandler):
    """Leaves its effect and tries to end the process it runs in."""

    name = "zoo.animal.quit"
    label = "Quit"

    def execute(self, context, payload):
        leave_effect(payload)
        sys.exit(1)


class Procrastinate(AnimalHandler):
    """Leaves its effect and asks for a retry that nobody will live to see."""

    name = "zoo.animal.procrastinate"
    label = "Procrastinate"

    def execute(self, context, payload):
        leave_effect(payload)
        raise Retry("some day", after=1e12)


class Babble(AnimalHandler):
    """Leaves its effect and returns what JSON has no form for."""

    name = "zoo.animal.babble"
    label = "Babble"

    def execute(self, context, payload):
        leave_effect(payload)
        return {"words": {payload.note}}


class Mute(AnimalHandler):
    """Returns nothing."""

    name = "zoo.animal.mute"
    label = "Mute"

    def execute(self, context, payload):
        return None


class Doze(AnimalHandler):
    """Sleeps in Python past its time limit, and tries to swallow the alarm."""

    name = "zoo.animal.doze"
    label = "Doze"
    timeout = 0.3
    retry = QUICK

    def execute(self, context, payload):
        leave_effect(payload)
        try:
            time.sleep(30)
        except Exception:
            return {}
        return {}


class Hibernate(AnimalHandler):
    """Sleeps in the database past its time limit."""

    name = "zoo.animal.hibernate"
    label = "Hibernate"
    timeout = 0.3
    retry = QUICK

    def execute(self, context, payload):
        leave_effect(payload)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(30)")
        return {}


class Hang(AnimalHandler):
    """Loses its database connection in the middle, the first `times` attempts."""

    name = "zoo.animal.hang"
    label = "Hang"
    retry = QUICK

    def execute(self, context, payload):
        leave_effect(payload)
        if context.directive.attempt <= payload.times:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return {}


class Freeze(AnimalHandler):
    """Leaves its effect and stops its process until its lease is over, the first `times` attempts."""

    name = "zoo.animal.freeze"
    label = "Freeze"
    retry = QUICK
    timeout = 0.5

    def execute(self, context, payload):
        leave_effect(payload)
        if context.directive.attempt <= payload.times:
            wake = f"sleep {self.timeout + settings.DIRECTIVES_LEASE_SECONDS + 1}; kill -CONT {os.getpid()}"
            subprocess.Popen(["/bin/sh", "-c", wake], start_new_session=True)
            os.kill(os.getpid(), signal.SIGSTOP)
        context.emit("zoo.animal.thawed")
        return {}


class Gorge(AnimalHandler):
    """Leaves its effect and takes 64 MiB of memory, and then more than there is."""

    name = "zoo.animal.gorge"
    label = "Gorge"

    def execute(self, context, payload):
        leave_effect(payload)
        eaten = [bytearray(1 << 26), bytearray(1 << 62)]
        return {"eaten": len(eaten)}


class Orphan(AnimalHandler):
    """Makes a thread in a category that does not exist, which only the commit finds out."""

    name = "zoo.animal.orphan"
    label = "Orphan"

    def execute(self, context, payload):
        Thread.objects.create(category_id=uuid4(), title="Orphan")
        return {}


class Escape(AnimalHandler):
    """Leaves its tenant's schema and comes back with a result."""

    name = "zoo.animal.escape"
    label = "Escape"

    def execute(self, context, payload):
        leave_effect(payload)
        connection.set_schema_to_public()
        if payload.note == "and crash":
            raise ValueError("out there")
        return {}


class Swallow(AnimalHandler):
    """Leaves its effect, breaks its transaction and says nothing of it."""

    name = "zoo.animal.swallow"
    label = "Swallow"

    def execute(self, context, payload):
        leave_effect(payload)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT no_such_column")
        except DatabaseError:
            pass
        return {}


class Delegate(AnimalHandler):
    """Requests work for another animal: in its own tenant, or, when its note names one, in that."""

    name = "zoo.animal.delegate"
    label = "Delegate"

    def execute(self, context, payload):
        order = {"animal": "delegate's", "note": payload.note}
        if payload.note:
            with in_tenant(payload.note):
                requests.request("zoo.animal.work", order, actor=context.actor)
        wanted = requests.request(
            "zoo.animal.work",
            order,
            actor=context.actor,
            correlation_id=context.directive.correlation_id,
            causation_id=str(context.directive.id),
        )
        if payload.times:
            raise DirectiveError("changed its mind")
        return {"wanted": str(wanted.directive.id)}


class Pretend(AnimalHandler):
    """Returns a result that claims to be another directive's, of another tenant."""

    name = "zoo.animal.pretend"
    label = "Pretend"

    def execute(self, context, payload):
        return {"type": "zoo.animal.work", "tenant": "somebody"}


class Blurt(AnimalHandler):
    """Quotes its note in what goes wrong, each time in another way."""

    name = "zoo.animal.blurt"
    label = "Blurt"
    retry = QUICK

    def execute(self, context, payload):
        if payload.animal == "parrot":
            try:
                {}[payload.note]
            except KeyError as error:
                raise ValueError(f"no {payload.note}") from error
        if payload.animal == "toad":
            with connection.cursor() as cursor:
                cursor.execute("SELECT %s::uuid", [payload.note])
        if payload.animal == "mule":
            raise Retry(payload.note)
        raise DirectiveError(payload.note)


class Echo(AnimalHandler):
    """Leaves its effect when everything else is committed; with a note, it fails instead."""

    name = "zoo.animal.echo"
    label = "Echo"

    def execute(self, context, payload):
        transaction.on_commit(lambda: {}[payload.note] if payload.note else leave_effect(payload))
        return {}


class Herd(AnimalHandler):
    """Leaves its effect; together with others it does what the note of the first one says."""

    name = "zoo.animal.herd"
    label = "Herd"

    def execute(self, context, payload):
        if payload.note == "refuse":
            raise DirectiveError("never")
        leave_effect(payload)
        context.emit("zoo.animal.herded")
        return {"together": 1}

    def execute_many(self, work):
        how = work[0][1].note
        results = [self._one_of_many(context, payload, len(work)) for context, payload in work]
        if how == "raise":
            raise KeyError("herd")
        if how == "quit":
            sys.exit(1)
        if how == "break":
            Swallow().execute(work[0][0], work[0][1])
        return results[1:] if how == "lose" else results

    def _one_of_many(self, context, payload, together):
        try:
            return {**self.execute(context, payload), "together": together}
        except DirectiveError as error:
            return error


class Gossip(AnimalHandler):
    """Leaves its effect and speaks about each subject in its note: `type=id`, or `-` for the animal.

    With `times`, it goes on when it may not speak.
    """

    name = "zoo.animal.gossip"
    label = "Gossip"

    def execute(self, context, payload):
        leave_effect(payload)
        for word in payload.note.split():
            kind, _, pk = word.partition("=")
            try:
                context.emit("zoo.animal.gossiped", subject=Subject(kind, pk) if pk else None)
            except DirectiveError:
                if not payload.times:
                    raise
        return {}


class Linger(AnimalHandler):
    """Leaves its effect, and speaks only after the commit."""

    name = "zoo.animal.linger"
    label = "Linger"

    def execute(self, context, payload):
        leave_effect(payload)
        transaction.on_commit(lambda: context.emit("zoo.animal.lingered"))
        return {}

    def execute_many(self, work):
        return [self.execute(context, payload) for context, payload in work]


class Bolt(AnimalHandler):
    """Leaves its effect, and after the commit whatever its note says: its tenant, its path, its process."""

    name = "zoo.animal.bolt"
    label = "Bolt"

    def execute(self, context, payload):
        leave_effect(payload)
        transaction.on_commit(lambda: self.bolt(payload.note))
        transaction.on_commit(lambda: leave_effect(payload))
        return {}

    def execute_many(self, work):
        if any(payload.note.startswith("many") for _, payload in work):
            return [self.execute(context, payload) for context, payload in work]
        raise RuntimeError("one by one")

    def bolt(self, how):
        how = how.removeprefix("many ")
        if how == "public":
            connection.set_schema_to_public()
        elif how in ("beta", "alone"):
            connection.set_schema(
                "org_beta" if how == "beta" else "org_alpha", include_public=how == "beta"
            )
        elif how == "crash there":
            connection.set_schema_to_public()
            raise ValueError("out there")
        elif how == "exit":
            raise Exit.Subclass("after the commit")
        elif how == "disconnect":
            connection.connection.close()
        elif how == "manual":
            connection.set_autocommit(False)
        else:
            with connection.cursor() as cursor:
                cursor.execute(how)


class Exit(AnimalHandler):
    """Leaves its effect and raises what is no Exception."""

    name = "zoo.animal.exit"
    label = "Exit"
    retry = QUICK

    class Subclass(SystemExit):
        """Looks like the queue's own time-out."""

    KINDS = {
        "cancelled": asyncio.CancelledError,
        "generator": GeneratorExit,
        "interrupt": KeyboardInterrupt,
        "subclass": Subclass,
        "time-out": TimeoutException,
        "base": BaseException,
    }

    class Lazy(dict):
        """Ends whoever reads it."""

        def items(self):
            raise SystemExit("read")

    def execute(self, context, payload):
        leave_effect(payload)
        if payload.note == "result":
            return {"lazy": self.Lazy(some=1)}
        raise self.KINDS[payload.note]("whatever")


class Exits(Exit):
    """Does the same among many, and lazily."""

    name = "zoo.animal.exits"
    label = "Exits"

    def execute_many(self, work):
        return (self.execute(context, payload) for context, payload in work)


class Mumble(AnimalHandler):
    """Leaves its effect and raises what cannot be told, or asks for a wait that makes no sense."""

    name = "zoo.animal.mumble"
    label = "Mumble"
    retry = QUICK

    def execute(self, context, payload):
        leave_effect(payload)
        raise MUMBLES[payload.note]()


class _NoText(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


class _TextIsNumber(Exception):
    def __str__(self):
        return 5


class _Leaves(Exception):
    def __str__(self):
        raise SystemExit(3)


class _NeverEnds(Exception):
    def __str__(self):
        while True:
            time.sleep(0.01)


class _Equal(Exception):
    def __eq__(self, other):
        raise RuntimeError("not comparable")

    __hash__ = None


class _Bare(Retry):
    def __init__(self):
        pass


def _retry_after(after):
    def make():
        error = Retry("later")
        error.after = after
        return error

    return make


class _RaisingAfter(_Bare):
    @property
    def after(self):
        raise RuntimeError("no wait")


MUMBLES = {
    "no text": _NoText,
    "number": _TextIsNumber,
    "leaves": _Leaves,
    "never ends": _NeverEnds,
    "equal": _Equal,
    "huge": lambda: ValueError("☃" * 20_000_000),
    "odd errno": lambda: OSError([1], "odd"),
    "bare retry": _Bare,
    "raising after": _RaisingAfter,
    "nan": _retry_after(float("nan")),
    "inf": _retry_after(float("inf")),
    "negative": _retry_after(-5),
    "1e300": _retry_after(1e300),
    "text": _retry_after("soon"),
    "list": _retry_after([1]),
    "timedelta": _retry_after(timedelta(seconds=1)),
}


class _Odd:
    """No policy at all: it has the one number that a request needs."""

    max_attempts = 3

    def delay(self, attempt, dice=None):
        raise OverflowError("too late")


class Overflow(AnimalHandler):
    """Leaves its effect and asks for a retry, under a policy that cannot tell the wait."""

    name = "zoo.animal.overflow"
    label = "Overflow"
    retry = _Odd()

    def execute(self, context, payload):
        leave_effect(payload)
        raise Retry("later")
