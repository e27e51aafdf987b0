"""The subcommand `prune`."""

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
        is_something = planned.last_seal >= planned.first_seal
        if is_something and not options["dry_run"]:
            if not options["yes"]:
                question = f"Remove {_words(planned)} of tenant {tenant.slug} for good? Type the slug: "
                command.confirm(question, tenant.slug, "Not pruned")
            pruning.prune(planned, before, actor=actor)
    if options["format"] == "json":
        command.print_json(
            {
                "tenant": tenant.slug,
                "pruned": is_something and not options["dry_run"],
                "first_seal": planned.first_seal if is_something else None,
                "last_seal": planned.last_seal if is_something else None,
                "signals": planned.signals,
            }
        )
    elif not is_something:
        command.stdout.write("No seal has only signals that were recorded before that time.")
    elif options["dry_run"]:
        command.stdout.write(f"Would remove {_words(planned)}.")
    else:
        command.stdout.write(f"Removed {_words(planned)}; the seals are kept.")


def _words(planned: Plan) -> str:
    signals = "1 signal" if planned.signals == 1 else f"{planned.signals:,} signals"
    first, last = planned.first_seal, planned.last_seal
    return f"the {signals} of {f'seal {first}' if first == last else f'seals {first}–{last}'}"
