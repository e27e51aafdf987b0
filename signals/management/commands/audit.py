"""`manage.py audit`: seals signals, and proves that nobody touched them since."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.core.management.base import CommandParser

from fleetprompt.console import OperatorCommand, add_format
from signals.cli import sealing
from signals.options import add_actor, add_tenant


class Command(OperatorCommand):
    """The subcommands of the audit log."""

    help = "Seal signals, verify that nobody touched them, prove, export and prune them."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the subcommands and their options."""
        parsers = parser.add_subparsers(required=True, metavar="SUBCOMMAND")
        self._add_sealing(parsers)
        self._add_keys(parsers)

    def _add(self, parsers: Any, name: str, run: Callable[..., None], text: str) -> CommandParser:
        parser = self.subcommand(parsers, name, partial(run, self), text)
        add_format(parser)
        return parser

    def _add_sealing(self, parsers: Any) -> None:
        seal = self._add(parsers, "seal", sealing.seal, "Seal the signals that are in no seal yet.")
        _add_tenants(seal)
        verify = self._add(
            parsers, "verify", sealing.verify, "Recompute every seal; status 1 when something does not fit."
        )
        _add_tenants(verify)
        verify.add_argument(
            "--checkpoints", metavar="FILE", help="compare with this copy; this machine's file by default"
        )
        acknowledge = self._add(
            parsers,
            "acknowledge",
            sealing.acknowledge,
            "Say on the record that seals were lost honestly, such as by restoring an older backup.",
        )
        add_tenant(acknowledge)
        acknowledge.add_argument("--reason", required=True, metavar="TEXT", help="why, for the record")
        add_actor(acknowledge)
        acknowledge.add_argument("--yes", action="store_true", help="do not ask")

    def _add_keys(self, parsers: Any) -> None:
        text = "Print the public key of the key that signs: who has it can check what was signed."
        self._add(parsers, "public-key", sealing.public_key, text)
        text = "Print a new private key for the setting AUDIT_KEY; nothing is stored."
        self._add(parsers, "generate-key", sealing.generate_key, text)


def _add_tenants(parser: CommandParser) -> None:
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--tenant", metavar="SLUG", help="only this tenant")
    where.add_argument("--all-tenants", action="store_true", help="every tenant")
