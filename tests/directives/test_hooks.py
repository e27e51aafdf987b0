"""The `on_commit` hooks and session state of one handler never affect the next directive."""

import pytest
from django.db import connection

from directives import registry, runner, tasks
from directives.executing import attempts
from fleetprompt.tenants.context import in_tenant, is_public
from signals.models import Signal
from tests.support import ask_animal, effects, states

HOW = [
    "public",
    "beta",
    "alone",
    "crash there",
    "exit",
    "disconnect",
    "manual",
    "SET search_path TO org_beta, public",
    "SET search_path TO nowhere",
    "BEGIN",
]


def alone():
    pass


def together():
    for handler in registry.handlers():
        attempts.seconds_by_name[handler.name] = 0.0


def rows(slug):
    with in_tenant(slug):
        return Signal.objects.count(), Signal.objects.exclude(dedupe_key__contains=f":{slug}:").count()


@pytest.mark.parametrize("mode", [alone, together])
@pytest.mark.parametrize("number", [1, 2])
def test_a_signal_that_comes_after_the_commit_is_an_error_there(alpha, caplog, mode, number):
    mode()
    asked = [ask_animal("linger", f"cat {n}") for n in range(number)]
    runner.run_due()
    assert states(*asked) == ["succeeded"] * number
    assert not Signal.objects.filter(name="zoo.animal.lingered").exists()
    assert caplog.text.count("an on_commit hook fails: DirectiveError") == number


@pytest.mark.parametrize("prefix", ["", "many "])
@pytest.mark.parametrize("mode", [alone, together])
@pytest.mark.parametrize("how", HOW)
def test_a_hook_that_leaves_its_tenant_is_told_and_the_next_directive_is_in_its_own(
    database, settings, caplog, how, mode, prefix
):
    settings.DIRECTIVES_TIME_SLICE_SECONDS = 60
    mode()
    with in_tenant("beta"):
        bystander = ask_animal("work", "bystander")
    with in_tenant("alpha"):
        asked = [ask_animal("bolt", f"bolt {n}", note=prefix + how) for n in range(2)]
        asked.append(ask_animal("work", "innocent"))
    assert tasks.work("alpha") >= 1
    assert is_public()
    with in_tenant("alpha"):
        runner.run_due()
        assert states(*asked) == ["succeeded"] * 3
        names = set(Signal.objects.values_list("name", flat=True))
        assert not names & {"directive.failed", "directive.retry_scheduled"}
        # The hook after the one that bolted is in its tenant, too.
        assert [effects(f"bolt {n} {prefix}{how}") for n in range(2)] == [2, 2]
        assert connection.get_autocommit()
    with in_tenant("beta"):
        assert states(bystander) == ["requested"]
    assert rows("beta") == (1, 0)
    if not how.startswith("SET"):
        told = [r.getMessage() for r in caplog.records if r.name == "directives.executing.hooks"]
        assert any(str(asked[0].pk) in line for line in told), told
