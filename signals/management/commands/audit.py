"""Command `manage.py audit`: seals signals, and verifies that they are unchanged since."""

from collections.abc import Callable
from functools import partial

from django.core.management.base import CommandParser

from fleetprompt.cli.console import OperatorCommand, add_format
from signals.cli import proving, sealing
from signals.cli.options import add_actor, add_tenant, add_tenants


class Command(OperatorCommand):
    """The subcommands of the audit log."""

    help = "Seal signals, verify that they are unchanged, prove, export and prune them."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the subcommands, whose functions' docstrings are their help, and their options."""
        parsers = parser.add_subparsers(required=True, metavar="SUBCOMMAND")

        def add(name: str, run: Callable[..., None]) -> CommandParser:
            added = self.subcommand(parsers, name, partial(run, self), " ".join(str(run.__doc__).split()))
            add_format(added)
            return added

        add_tenants(add("seal", sealing.seal))
        verify = add("verify", sealing.verify)
        add_tenants(verify)
        text = "compare with this copy; this machine's file by default"
        verify.add_argument("--checkpoints", metavar="FILE", help=text)

        acknowledge = add("acknowledge", sealing.acknowledge)
        add_tenant(acknowledge)
        acknowledge.add_argument("--reason", required=True, metavar="TEXT", help="why, for the record")
        text = "a clock was ahead, or set back: seal the signals that seals claim to cover and do not"
        acknowledge.add_argument("--clock", action="store_true", help=text)
        _add_consent(acknowledge)

        proof = add("proof", proving.proof)
        proof.add_argument("signal", metavar="SIGNAL", help="the signal's id")
        add_tenant(proof)
        _add_checked(add("check-proof", proving.check_proof))
        export = add("export", proving.export)
        add_tenant(export)
        text = "where to; standard output by default"
        export.add_argument("--output", default="-", metavar="FILE", help=text)
        _add_checked(add("check-export", proving.check_export))

        prune = add("prune", sealing.prune)
        add_tenant(prune)
        text = "only seals all of whose signals are older"
        prune.add_argument("--before", required=True, metavar="ISO8601", help=text)
        prune.add_argument("--dry-run", action="store_true", help="only print what would be removed")
        _add_consent(prune)

        add("public-key", proving.public_key)
        add("generate-key", proving.generate_key)


def _add_consent(parser: CommandParser) -> None:
    add_actor(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _add_checked(parser: CommandParser) -> None:
    parser.add_argument("file", metavar="FILE", help="- is standard input")
    text = "the output of `audit public-key`, or a file with it or with PEM; may be repeated"
    parser.add_argument("--public-key", action="append", required=True, metavar="KEY", help=text)
