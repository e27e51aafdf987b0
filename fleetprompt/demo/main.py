"""The demo from its first line to its last."""

from rich.console import Console

from fleetprompt.demo import cluster, report, scenes, story
from fleetprompt.demo.waiting import Waiter


def run(console: Console, seconds: float, port: int) -> None:
    """Play the demo once more and print what happened.

    Args:
        seconds: how long the cluster has for all directives together.
        port: on which the web server will be.

    Raises:
        DemoError: the cluster does not start, or directives do not end as they should.
        Refused: a tenant takes no directives, or cannot be made.
    """
    number, harbor, orchard = scenes.prepare()
    _step(
        console,
        f"Run {number}. New threads in two communities: {harbor.tenant} with {len(harbor.posts)} posts "
        f"and a spam wave, {orchard.tenant} with {len(orchard.posts)} posts and a quarrel.",
    )
    _step(console, "Starting a qcluster …")
    with cluster.running() as running:
        _step(console, "Requesting directives, which the cluster's workers execute …")
        played = story.play(number, harbor, orchard, Waiter(running, seconds))
    report.show(console, played, port)


def _step(console: Console, text: str) -> None:
    console.print(text, highlight=False)
