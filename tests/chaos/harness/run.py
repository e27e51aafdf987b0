"""One run: minutes of faults, then a quiet time, then the checks."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
from django.conf import settings
from django.db import connection
from django_q.models import OrmQ

from directives.models import Directive
from directives.requests import request
from directives.tasks import BROKEN_PAUSE_SECONDS
from fleetprompt.tenants.context import in_tenant
from signals.models import Seal
from tests.chaos.harness import requests, schedule
from tests.chaos.harness.checks import check_town, leftovers
from tests.chaos.harness.checks.promises import Promises
from tests.chaos.harness.faults import KINDS, Missed
from tests.chaos.harness.journal import Journal
from tests.chaos.harness.reading import Violation, read_town
from tests.chaos.harness.report import Report
from tests.chaos.harness.server import Server
from tests.chaos.harness.world import SETTER_UP, World, patiently, sweep

CLUSTERS, REQUESTERS = 2, 2
SWEEP_EVERY = 2.0
SEAL_EVERY = 7.0
QUIET_SECONDS = 90
"""How long nothing may come to an end before it is plain that the rest never will."""
PATIENCE = 3
"""How many times the planned time the requesters may take on a slow machine."""
AGAIN = 0.5
"""Seconds after which a fault that found no target is tried again."""


@dataclass(frozen=True)
class Options:
    """What a run is asked to do."""

    seed: int
    minutes: float
    directives: int
    tenants: int
    faults: int


class Run:
    """One run in a folder of its own."""

    def __init__(self, options: Options, folder: Path, server: Server, say: Callable[[str], None]) -> None:
        self.options, self.say = options, say
        self.slugs = requests.tenants(options.tenants)
        self.world = World(folder, server, self.slugs)
        self.report = Report(options.seed)
        self._log = (folder / "faults.jsonl").open("a")
        self._swept = self._sealed = 0.0
        self._began = 0.0

    def go(self) -> Report:
        """Do all of it; the report has what was found."""
        seconds = self.options.minutes * 60
        plan = schedule.schedule(self.options.seed, seconds, self.options.faults)
        self.world.prepare()
        self.say(f"{len(self.slugs)} tenants are ready; {len(plan)} faults are planned")
        try:
            self.world.start_clusters(CLUSTERS)
            self.world.start_requesters(REQUESTERS, self.options.seed, self.options.directives, seconds)
            self._chaos(plan, seconds)
            self._become_quiet()
            self.world.stop_clusters()
        finally:
            self.world.kill_all()
        self._check()
        return self.report

    def _chaos(self, plan: list[schedule.Fault], seconds: float) -> None:
        self._began = time.monotonic()
        self._wait(self._is_at_work, "the clusters and the requesters to come up")
        self._began = time.monotonic()
        waiting = sorted(plan)
        while (now := time.monotonic() - self._began) < seconds or self.world.requesting():
            while waiting and waiting[0].at <= now:
                fault = waiting.pop(0)
                if not self._strike(fault, now):
                    waiting = sorted([*waiting, fault._replace(at=now + AGAIN)])
            if now > seconds * PATIENCE:
                self.world.stop_requesters()
            self._look_after()
        self.report.seconds = time.monotonic() - self._began
        # What is stopped or held goes on before the world is expected to become quiet.
        self.world.tend(now=True)

    def _strike(self, fault: schedule.Fault, now: float) -> bool:
        try:
            struck = KINDS[fault.kind](self.world, fault)
        except (Missed, psycopg.Error, psutil.NoSuchProcess):
            return False
        self.report.struck[fault.kind] += 1
        self._log.write(json.dumps({"at": round(now, 2), "kind": fault.kind, "struck": struck}) + "\n")
        self._log.flush()
        return True

    def _look_after(self) -> None:
        self.world.tend()
        if time.monotonic() - self._sealed > SEAL_EVERY:
            self.world.seal()
            self._sealed = time.monotonic()
        if time.monotonic() - self._swept > SWEEP_EVERY:
            sweep()
            self._swept = time.monotonic()
            ended, waiting, messages = patiently(self._counts)
            counts = f"{ended + waiting:6,} directives  {waiting:5,} waiting  {messages:4} messages"
            faults = self.report.struck.total()
            self.say(f"{self._swept - self._began:4.0f} s  {counts}  {faults:4} faults")
        time.sleep(0.02)

    def _counts(self) -> tuple[int, int, int]:
        """Return how many directives have ended, how many have not, and how many messages there are."""
        ended, waiting = 0, 0
        for slug in self.slugs:
            with in_tenant(slug):
                left = Directive.objects.exclude(status__in=Directive.TERMINAL).count()
                ended, waiting = ended + Directive.objects.count() - left, waiting + left
        return ended, waiting, OrmQ.objects.count()

    def _become_quiet(self) -> None:
        """Wait until everything that can be done is done and every cluster has shown that it works."""
        began = time.monotonic()
        quiet = self._wait(self._is_quiet, "the tenants to become quiet")
        self.report.drained = time.monotonic() - began
        self.report.restarts, self.report.effects = self.world.restarts, self.world.effects
        if not quiet:
            return
        self.world.wait_for_effects()
        for number, cluster in enumerate(self.world.clusters):
            others = [other for other in self.world.clusters if other is not cluster]
            for other in others:
                other.signal(signal.SIGSTOP)
            self._probe(number)
            for other in others:
                other.signal(signal.SIGCONT)
        # A time slice that was stopped fails when it continues, and leaves a wake-up for a moment later.
        time.sleep(2 * BROKEN_PAUSE_SECONDS)
        self._wait(lambda: not OrmQ.objects.exists(), "the queue to become empty")

    def _wait(self, done: Callable[[], bool], what: str) -> bool:
        before, since = -1, 0.0
        while not patiently(done):
            self._look_after()
            time.sleep(0.2)
            ended, _, _ = patiently(self._counts)
            if ended != before:
                before, since = ended, time.monotonic()
            if time.monotonic() - since > QUIET_SECONDS:
                self.report.violations.append(Violation("", "", what, f"nothing for {QUIET_SECONDS} s"))
                return False
        return True

    def _is_at_work(self) -> bool:
        ended, _, _ = self._counts()
        return ended > 0 and all(cluster.members() for cluster in self.world.clusters)

    def _is_quiet(self) -> bool:
        _, waiting, _ = self._counts()
        return not waiting

    def _probe(self, cluster: int) -> None:
        """Have one cluster, while the others are stopped, work for each tenant."""
        journal = Journal(self.world.folder / "requester-probe.jsonl")
        for slug in self.slugs:
            key = f"{slug}:probe:{cluster}"
            journal.write(do="ask", request=cluster, tenant=slug, keys=[key])
            with in_tenant(slug):
                payload = {"animal": f"probe {cluster}", "note": key}
                asked, created = request("zoo.animal.roam", payload, actor=SETTER_UP, idempotency_key=key)
            answers = [[key, str(asked.pk), created]]
            journal.write(did="ask", request=cluster, tenant=slug, answers=answers)
        self._wait(self._is_quiet, f"cluster {cluster} to work")

    def _check(self) -> None:
        self.say("checking")
        promises = Promises()
        for path in self.world.journals():
            promises.add(path)
        self.report.promised = sum(len(given) for given in promises.given.values())
        self.report.operations = promises.done.total()
        self.report.fenced = self.world.fenced()
        towns = []
        for slug in self.slugs:
            with in_tenant(slug):
                town = read_town(self.world.stopped)
                self.report.seals += Seal.objects.count()
            towns.append(town)
            self.report.add(town)
            self.report.violations += check_town(town, promises)
            self.report.violations += leftovers.check_apart(town)
        self.report.violations += leftovers.check_queue(towns)
        self.report.violations += self._sessions()
        self.report.violations += self._audit()

    def _sessions(self) -> list[Violation]:
        deadline = time.monotonic() + 10
        while (found := list(leftovers.check_sessions())) and time.monotonic() < deadline:
            # The server notices a moment later that a killed process has gone.
            time.sleep(0.2)
        return found

    def _audit(self) -> Iterator[Violation]:
        connection.close()
        for what in ("seal", "verify"):
            found = subprocess.run(
                [sys.executable, "manage.py", "audit", what, "--all-tenants"],
                cwd=settings.BASE_DIR,
                capture_output=True,
                text=True,
                check=False,
            )
            self.report.audit = "verified" if found.returncode == 0 else "does not verify"
            if found.returncode:
                yield Violation("", f"audit {what}", "a log that verifies", found.stdout + found.stderr)
