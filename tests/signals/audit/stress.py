"""Stress: emits in all kinds of transactions during sealing and verifying; `python -m` runs it longer."""

import argparse
import os
import random
import time
from itertools import count

import django

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()

from django.db import connection, transaction

from fleetprompt.tenants.context import in_tenant
from signals import bus
from signals.audit.sealing import sealer
from signals.audit.verifying import verification
from signals.audit.verifying.verification import Report
from signals.models import SealEntry, Signal
from tests.support import TESTER, in_threads

_numbers = count()


class _Undone(Exception):
    pass


def stress(*, seconds: float, emitters: int = 6) -> Report:
    """Emit, seal and verify in the tenant alpha for a time; return what a last verification says.

    Fails when a verification in between finds something, or a committed signal is not in exactly one seal.
    """
    until = time.monotonic() + seconds
    committed: list[set[str]] = [set() for _ in range(emitters)]
    emitting = [lambda keys=keys: _emit(until, keys) for keys in committed]
    results = in_threads(*emitting, lambda: _seal(until), lambda: _seal(until), lambda: _verify(until))
    assert results[:-1] == [None] * (emitters + 2), results
    assert results[-1] == [], results
    sealer.seal()
    kept = set().union(*committed)
    assert set(Signal.objects.values_list("dedupe_key", flat=True)) == kept
    assert set(SealEntry.objects.values_list("signal_id", flat=True)) == set(
        Signal.objects.values_list("pk", flat=True)
    )
    return verification.verify()


def _emit(until: float, kept: set[str]) -> None:
    while time.monotonic() < until:
        keys: set[str] = set()
        way = random.random()
        try:
            if way < 0.3:
                keys |= _some()  # Each in a transaction of its own.
            else:
                with transaction.atomic():
                    _open(keys)
                    if way > 0.8:
                        raise _Undone
        except _Undone:
            continue
        kept |= keys


def _open(keys: set[str]) -> None:
    for _ in range(random.randint(1, 3)):
        keys |= _some()
        time.sleep(random.choice([0, 0, 0.001, 0.01, 0.05, 0.2]))
        try:
            with transaction.atomic():
                undone = _some()
                if random.random() < 0.5:
                    raise _Undone
                keys |= undone
        except _Undone:
            pass


def _some() -> set[str]:
    names = [f"{next(_numbers)}" for _ in range(random.choice([1, 1, 1, 5, 50]))]
    bus.record([bus.fact("a.b", {"n": name}, dedupe_key=name, actor=TESTER) for name in names])
    return set(names)


def _seal(until: float) -> None:
    while time.monotonic() < until:
        sealer.seal()
        time.sleep(random.choice([0, 0, 0.005]))


def _verify(until: float) -> list[str]:
    found: list[str] = []
    while time.monotonic() < until and not found:
        found += [finding.text for finding in verification.verify().findings]
    return found


def main() -> None:
    """Run the stress for some rounds and print what came of it."""
    from fleetprompt.tenants.provisioning import create_tenant
    from tests.support import empty_tenants, own_database

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    with own_database():
        create_tenant("alpha", name="Alpha", domain="alpha.localhost")
        for number in range(options.rounds):
            with in_tenant("alpha"):
                report = stress(seconds=options.seconds)
            print(f"{number + 1}: {report.signals} signals, {report.seals} seals: {report.findings}")  # noqa: T201
            empty_tenants()
        connection.close()


if __name__ == "__main__":
    main()
