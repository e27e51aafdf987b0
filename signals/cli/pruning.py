"""Subcommand `prune` of `manage.py audit`."""

from dataclasses import asdict
from typing import Any

from fleetprompt.cli.console import OperatorCommand
from fleetprompt.tenants.context import in_tenant
from signals.audit import pruning
from signals.audit.pruning import Plan
from signals.cli import options as parse


def prune(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Remove old signals, after a question unless `--yes` was given."""
    before = parse.moment("--before", options["before"])
    with in_tenant(options["tenant"]) as tenant:
        actor = parse.actor(options["actor"])
        planned = pruning.plan(before)
        has_seals = planned.last_seal >= planned.first_seal
        if has_seals and not options["dry_run"]:
            if not options["yes"]:
                question = f"Remove {_words(planned)} of tenant {tenant.slug} for good? Type the slug: "
                command.confirm(question, tenant.slug, "Not pruned")
            pruning.prune(planned, before, actor=actor)
    is_pruned = has_seals and not options["dry_run"]
    seals = asdict(planned) if has_seals else {"first_seal": None, "last_seal": None, "signals": 0}
    text = "No seal has only signals that were recorded before that time."
    if has_seals:
        words = _words(planned)
        text = f"Removed {words}; the seals are kept." if is_pruned else f"Would remove {words}."
    parse.answer(command, options, {"tenant": tenant.slug, "pruned": is_pruned, **seals}, text)


def _words(planned: Plan) -> str:
    signals = "1 signal" if planned.signals == 1 else f"{planned.signals:,} signals"
    first, last = planned.first_seal, planned.last_seal
    return f"the {signals} of {f'seal {first}' if first == last else f'seals {first}–{last}'}"
