"""Processes that race: for one directive, for one key, for the directives of few subjects."""

import json
import subprocess
import sys
from contextlib import contextmanager
from itertools import pairwise

import pytest
from django.conf import settings
from django.db import connection

from directives.models import Directive
from fleetprompt.tenants.context import in_tenant
from signals.models import Signal
from tests.support import (
    TENANTS,
    ask_animal,
    effects,
    ended,
    environment,
    qcluster,
    signal_names,
    states,
    thinned,
    wait_until,
)

RACER = """
import json, sys, django
django.setup()
from django.db import connection
from directives import runner
from fleetprompt.tenants.context import in_tenant
from tests.support import ask
from signals.types import Actor
with in_tenant("alpha"):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock_shared(hashtext('race'))")
    answers = []
    for argument in json.load(sys.stdin):
        {step}
        answers.append(answer)
print(json.dumps(answers))
"""
RUN = "answer = runner.run(argument).kind"
ASK = (
    "asked = ask('zoo.animal.roam', {'animal': argument});"
    " answer = [str(asked.directive.id), asked.created]"
)


@contextmanager
def starting_line():
    """Hold back the racers for a block, in which they are started."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtext('race'))")
        yield
        wait_until(lambda: waiting(cursor) == 2, "both racers are ready")
        cursor.execute("SELECT pg_advisory_unlock(hashtext('race'))")


def waiting(cursor):
    cursor.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event = 'advisory'"
    )
    return cursor.fetchone()[0]


def race(step, arguments):
    """Let two processes do the step with each argument, and give what each of them answered."""
    with starting_line():
        racers = [
            subprocess.Popen(
                [sys.executable, "-c", RACER.replace("{step}", step)],
                cwd=settings.BASE_DIR,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        for racer in racers:
            racer.stdin.write(json.dumps(arguments))
            racer.stdin.close()
    answers = [json.load(racer.stdout) for racer in racers]
    assert [racer.wait() for racer in racers] == [0, 0]
    return answers


def test_two_processes_that_run_the_same_directives_run_each_once(alpha):
    directives = [ask_animal("roam", str(number)) for number in range(80)]
    answers = race(RUN, [str(directive.id) for directive in directives])
    for number, kinds in enumerate(zip(*answers, strict=True)):
        assert sorted(kinds) == ["discarded", "succeeded"]
        assert effects(str(number)) == 1
    assert all("succeeded" in answer for answer in answers), "both had their share"
    assert Signal.objects.count() == 80 * 4
    assert set(Directive.objects.values_list("attempt", flat=True)) == {1}


def test_two_processes_that_request_with_the_same_keys_store_each_directive_once(alpha):
    first, second = race(ASK, [f"cat {number}" for number in range(80)])
    for (one, one_created), (other, other_created) in zip(first, second, strict=True):
        assert one == other
        assert one_created != other_created
    assert Directive.objects.count() == Signal.objects.count() == 80


@pytest.mark.parametrize("clusters", thinned([2, 1], every=2))
def test_many_workers_run_few_subjects_in_order_one_at_a_time_and_each_directive_once(
    database, tmp_path, clusters
):
    subjects = ("cat", "dog", "cow")

    def request(start, count):
        return [
            ask_animal("work", subjects[number % 3], note=str(number), seconds=0.005)
            for number in range(start, start + count)
        ]

    logs = [tmp_path / f"{number}.log" for number in range(2)]
    with in_tenant("alpha"):
        asked = request(0, 45)
    with qcluster(logs[0], workers=4 // clusters):
        if clusters == 2:
            with qcluster(logs[1]), in_tenant("alpha"):
                asked += request(45, 45)
                wait_until(lambda: ended(asked), "all have ended")
        else:
            with in_tenant("alpha"):
                asked += request(45, 45)
                wait_until(lambda: ended(asked), "all have ended")
    with in_tenant("alpha"):
        assert states(*asked) == ["succeeded"] * 90
        assert set(Directive.objects.values_list("attempt", flat=True)) == {1}
        for number, directive in enumerate(asked):
            assert effects(f"{subjects[number % 3]} {number}") == 1
            assert len(signal_names(directive)) == 4
            directive.refresh_from_db()
        for subject in subjects:
            line = [directive for directive in asked if directive.subject_id == subject]
            for before, after in pairwise(line):
                assert before.result["ended"] <= after.result["began"]
        workers = Signal.objects.filter(name="directive.started").values_list("payload__worker", flat=True)
        assert len(set(workers)) > 1, "more than one worker had a share"


def test_tenants_share_a_cluster_and_nothing_else(database, tmp_path):
    asked = {}
    for slug in TENANTS:
        with in_tenant(slug):
            asked[slug] = [ask_animal("work", "cat", note=f"{slug} {number}") for number in range(15)]
    with qcluster(tmp_path / "log", workers=3):
        for slug in TENANTS:
            with in_tenant(slug):
                wait_until(lambda slug=slug: ended(asked[slug]), f"{slug} is done")
    for slug in TENANTS:
        with in_tenant(slug):
            assert [effects(f"cat {slug} {number}") for number in range(15)] == [1] * 15
            assert Directive.objects.count() == 15
            assert Signal.objects.count() == 15 * 4
