"""Targets of faults: a database, its tenants, clusters and requesters, each a real process."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from directives import tasks
from directives.models import Directive
from directives.requests import Requested, request
from fleetprompt.operators import clusters
from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.provisioning import create_tenant
from forums import content
from signals.types import Actor
from tests.chaos.harness import requests
from tests.chaos.harness.journal import Journal
from tests.chaos.harness.server import Server

SETTER_UP = Actor("system", "chaos")
WORKERS = 2
FENCED = "is not the current one"


class Cluster:
    """A qcluster in a process group of its own, started again by `World` when it ends."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.start()

    def start(self) -> None:
        """Start it; its processes come up a moment later."""
        with self.log.open("ab") as output:
            self.process = clusters.start(output, CLUSTER_WORKERS=str(WORKERS))

    def members(self) -> list[psutil.Process]:
        """Return the processes under its guard: workers, the one that fetches, the one that reports."""
        with suppress(psutil.NoSuchProcess):
            for guard in psutil.Process(self.process.pid).children():
                return [one for one in guard.children() if one.status() != psutil.STATUS_ZOMBIE]
        return []

    def signal(self, number: int) -> None:
        """Send a signal to all its processes."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """SIGKILL all its processes."""
        self.signal(signal.SIGKILL)
        self.process.wait()


class World:
    """The whole installation, and what is to be done to it a moment later."""

    def __init__(self, folder: Path, server: Server, slugs: list[str]) -> None:
        self.folder, self.server, self.slugs = folder, server, slugs
        self.clusters: list[Cluster] = []
        self.requesters: dict[int, subprocess.Popen[bytes]] = {}
        self.requester_arguments: list[str] = []
        self._sealer: subprocess.Popen[bytes] | None = None
        self.restarts = 0
        self.effects: list[float] = []
        """Seconds from each cut of all connections until what was asked for then had its effect."""
        self._asking: list[threading.Thread] = []
        self.stopped: set[int] = set()
        self._later: list[tuple[float, Callable[[], None]]] = []

    def prepare(self) -> None:
        """Make the tenants and their forums."""
        for slug in self.slugs:
            create_tenant(slug, name=slug.title(), domain=f"{slug}.localhost")
            with in_tenant(slug):
                category = content.create_category("general", "General", actor=SETTER_UP)
                threads = [
                    content.create_thread(
                        category, f"Thread {n}", actor=SETTER_UP, external_id=f"thread {n:02}"
                    )
                    for n in range(requests.THREADS)
                ]
                for n in range(requests.POSTS):
                    content.create_post(
                        threads[n % len(threads)],
                        f"Post {n}",
                        actor=SETTER_UP,
                        author_id="ann",
                        external_id=f"post {n:02}",
                    )

    def start_clusters(self, count: int) -> None:
        """Start qclusters."""
        self.clusters = [Cluster(self.folder / f"cluster{number}.log") for number in range(count)]

    def start_requesters(self, count: int, seed: int, directives: int, seconds: float) -> None:
        """Start requesters who ask for `directives` altogether within `seconds`."""
        self.requester_arguments = [str(seed), str(-(-directives // count)), str(len(self.slugs))]
        self.requester_arguments += [str(time.time()), str(seconds)]
        for number in range(count):
            self._start_requester(number)

    def journals(self) -> list[Path]:
        """Return the requesters' journals."""
        return sorted(self.folder.glob("requester*.jsonl"))

    def fenced(self) -> int:
        """Count the attempts that were kept out because another one had taken over, as clusters log it."""
        logs = [cluster_log.read_text(errors="replace") for cluster_log in self.folder.glob("cluster*.log")]
        return sum(log.count(FENCED) for log in logs)

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        """Have `tend` do something when `seconds` have passed."""
        self._later.append((time.monotonic() + seconds, what))

    def tend(self, *, now: bool = False) -> None:
        """Do what is due, or everything `now`; start again what has died, as a supervisor does."""
        for at, what in list(self._later):
            if now or at <= time.monotonic():
                self._later.remove((at, what))
                what()
        for cluster in self.clusters:
            if cluster.process.poll() is not None:
                cluster.kill()
                cluster.start()
                self.restarts += 1
        for number, process in self.requesters.items():
            if process.poll():
                self._start_requester(number)

    def ask(self, slug: str, after: float) -> None:
        """Ask for something in a tenant in `after` seconds; `effects` has how long from now it takes.

        A thread does, with a connection of its own: whoever strikes is busy.
        """
        thread = threading.Thread(target=self._ask, args=(slug, len(self._asking), after), daemon=True)
        self._asking.append(thread)
        thread.start()

    def wait_for_effects(self) -> None:
        """Return when all that was asked for by `ask` is done."""
        for thread in self._asking:
            thread.join()

    def _ask(self, slug: str, number: int, after: float) -> None:
        key = f"{slug}:cut:{number}"
        journal = Journal(self.folder / f"requester-cut{number}.jsonl")
        journal.write(do="ask", request=number, tenant=slug, keys=[key])

        def ask() -> Requested:
            with in_tenant(slug):
                payload = {"animal": f"cut {number}", "note": key}
                return request("zoo.animal.roam", payload, actor=SETTER_UP, idempotency_key=key)

        def has_ended() -> bool:
            with in_tenant(slug):
                return Directive.objects.filter(idempotency_key=key, status__in=Directive.TERMINAL).exists()

        since = time.monotonic()
        time.sleep(after)
        asked, created = patiently(ask)
        journal.write(did="ask", request=number, tenant=slug, answers=[[key, str(asked.pk), created]])
        while not patiently(has_ended):
            time.sleep(0.02)
        self.effects.append(time.monotonic() - since)
        connection.close()

    def seal(self) -> None:
        """Start a process that seals all tenants' signals, unless the one before it is still at work."""
        if self._sealer is None or self._sealer.poll() is not None:
            with (self.folder / "sealer.log").open("ab") as output:
                self._sealer = subprocess.Popen(
                    [sys.executable, "manage.py", "audit", "seal", "--all-tenants"],
                    cwd=settings.BASE_DIR,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )

    def kill_sealer(self) -> bool:
        """SIGKILL the process that seals; return whether one was at work."""
        if self._sealer is None or self._sealer.poll() is not None:
            return False
        self._sealer.kill()
        self._sealer.wait()
        return True

    def stop_requesters(self) -> None:
        """Let the requesters finish what they do, and go."""
        for process in self.requesters.values():
            process.terminate()
        for process in self.requesters.values():
            process.wait()

    def requesting(self) -> bool:
        """Return whether any requester is at work."""
        return any(process.poll() is None for process in self.requesters.values())

    def stop_clusters(self) -> None:
        """Have the clusters stop as an operator would; kill what does not."""
        for cluster in self.clusters:
            cluster.process.terminate()
        for cluster in self.clusters:
            with suppress(subprocess.TimeoutExpired):
                cluster.process.wait(20)
            cluster.kill()
        self.clusters = []

    def kill_all(self) -> None:
        """Leave no process behind."""
        self.kill_sealer()
        for cluster in self.clusters:
            cluster.kill()
        for process in self.requesters.values():
            process.kill()
            process.wait()

    def _start_requester(self, number: int) -> None:
        seed, directives, tenants, began, seconds = self.requester_arguments
        with (self.folder / f"requester{number}.log").open("ab") as output:
            self.requesters[number] = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.chaos.harness.load"),
                    *(str(self.folder / f"requester{number}.jsonl"), seed, str(number)),
                    *(directives, tenants, began, seconds),
                ],
                cwd=settings.BASE_DIR,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )


def sweep() -> None:
    """Look for forgotten work, as django-q2's schedule does each minute."""
    patiently(tasks.sweep)


def patiently(what: Callable[[], Any], seconds: float = 60) -> Any:
    """Do something in the database, again when the connection breaks."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return what()
        except (OperationalError, InterfaceError):
            connection.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
