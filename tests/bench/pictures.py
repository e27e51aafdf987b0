"""`python -m tests.bench.pictures results.json [soak.json]`: the results as SVG in docs/benchmark/."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

FOLDER = Path(__file__).resolve().parents[2] / "docs/benchmark"
OURS, THEIRS, MARK, INK, GRID = "#0969da", "#8c959f", "#bc4c00", "#1f2328", "#d0d7de"
STYLE: dict[str, Any] = {
    # The same results give the same file.
    "svg.hashsalt": "fleetprompt",
    # Text stays text: it can be searched and read aloud.
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11,
    # A page of its own colour is readable in light and dark surroundings.
    "figure.facecolor": "#ffffff",
    "axes.facecolor": "#ffffff",
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "legend.frameon": False,
}
BARS = (
    ("wave_many", OURS, "directives: wave, execute_many"),
    ("wave", OURS, "directives: wave, plain execute"),
    ("floor", MARK, "the floor: two transactions of raw SQL"),
    ("plain_noop", THEIRS, "django-q2: tasks that do nothing"),
    ("plain_hide", THEIRS, "django-q2: the same job"),
    ("trickle", OURS, "directives: trickle"),
    ("plain_trickle", THEIRS, "django-q2: trickle of the same job"),
)
CURVES = (
    ("latency", OURS, "-", "directives, idle system"),
    ("fairness", OURS, "--", "directives, beside another tenant's wave"),
    ("plain_latency", THEIRS, "-", "plain django-q2, idle system"),
)
Results = dict[str, Any]


def main() -> None:
    """Draw what the files hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pictures", description=__doc__)
    parser.add_argument(
        "results", type=Path, nargs="+", help="files of `tests.bench` and `tests.bench.soak`"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to (default: docs/benchmark)")
    options = parser.parse_args()
    for path in options.results:
        try:
            drawn = draw(json.loads(path.read_text()), options.folder)
        except (OSError, ValueError, KeyError) as error:
            parser.error(f"results: {path} is no result of the benchmark ({error!r})")
        print(*drawn, sep="\n")  # noqa: T201 - what was written


def draw(result: Results, folder: Path) -> list[Path]:
    """Draw the pictures that a result has the figures for; return their paths.

    Args:
        result: what `tests.bench` or `tests.bench.soak` wrote.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if "samples" in result:
        return [_draw(soak, result, folder / "soak.svg")]
    found = result["measurements"]
    wanted: list[tuple[str, Callable[[Results, Figure], None], bool]] = [
        ("throughput", throughput, "floor" in found),
        ("latency", latency, "latency" in found),
        ("fairness", fairness, "fairness" in found),
    ]
    return [_draw(what, found, folder / f"{name}.svg") for name, what, possible in wanted if possible]


def _draw(what: Callable[[Results, Figure], None], data: Results, path: Path) -> Path:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 4.2), layout="constrained")
        what(data, figure)
        figure.savefig(path, metadata={"Date": None, "Creator": None})
    return path


def throughput(found: Results, figure: Figure) -> None:
    """Bars of what is done in a second, with the rounds' spread."""
    axes = figure.subplots()
    bars = [(found[name], colour, label) for name, colour, label in BARS if name in found]
    for place, (one, colour, _) in enumerate(reversed(bars)):
        axes.barh(place, one["median"], color=colour, height=0.62)
        axes.plot([one["min"], one["max"]], [place, place], color=INK, linewidth=1.2)
        text = f" {one['median']:,.0f}"
        axes.annotate(text, (one["max"], place), va="center", xytext=(3, 0), textcoords="offset points")
    axes.set_yticks(range(len(bars)), [label for *_, label in reversed(bars)])
    title = "Done in a second: two workers, two cores, every commit on disk"
    figure.suptitle(title, x=0.01, ha="left", fontsize="large", fontweight="bold")
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def latency(found: Results, figure: Figure) -> None:
    """Curves: how many of all effects are committed within a time."""
    axes = figure.subplots()
    for name, colour, line, label in CURVES:
        if name not in found:
            continue
        delays = sorted(delay for one in found[name]["series"] for delay in one["delays"])
        shares = [100 * (place + 1) / len(delays) for place in range(len(delays))]
        axes.plot(delays, shares, color=colour, linestyle=line, linewidth=1.8, label=label)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylim(0, 101)
    axes.set_xlabel("milliseconds from the commit of the request to the commit of its effect")
    axes.set_ylabel("% are done")
    axes.set_title("Time to effect")
    # Wherever the curves are, they are not there.
    figure.legend(loc="outside lower center", ncols=2)


def fairness(found: Results, figure: Figure) -> None:
    """What the crowd has due and how long the village waits, over the seconds of one round."""
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(1, 1.4))
    series = found["fairness"]["series"][0]
    upper.fill_between(*zip(*series["due"], strict=True), color=THEIRS, alpha=0.5, linewidth=0)
    upper.set_ylim(bottom=0)
    upper.set_title("One tenant's wave: directives due")
    upper.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    delays = series["delays"]
    lower.plot(series["asked"], delays, "o", color=OURS, markersize=5)
    if "latency.p95" in found:
        idle = found["latency.p95"]["median"]
        lower.axhline(idle, color=MARK, linewidth=1.2, linestyle="--")
        lower.annotate(
            "p95 on an idle system ", (series["asked"][-1], idle), va="bottom", ha="right", color=MARK
        ).set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5})
    lower.set_ylim(bottom=0)
    lower.set_title("Another tenant's request of each second: ms to its effect")
    lower.set_xlabel("seconds")


def soak(result: Results, figure: Figure) -> None:
    """The load over the minutes: what was done, how long it took, and what it left."""
    figure.set_size_inches(8, 6.4)
    panels: Sequence[Axes] = list(figure.subplots(2, 2, sharex=True).flat)
    samples = result["samples"]
    minutes = [sample["seconds"] / 60 for sample in samples]
    wanted = (
        ("Directives a second", (("per_second", OURS, "done"),)),
        ("Milliseconds from due to done", (("p50", OURS, "p50"), ("p95", MARK, "p95"))),
        ("Dead rows, % of the hot tables", (("dead_percent", OURS, "dead"),)),
        ("MiB in memory", (("worker_mib", OURS, "largest worker"), ("other_mib", THEIRS, "others"))),
    )
    for axes, (title, lines) in zip(panels, wanted, strict=True):
        for name, colour, label in lines:
            values = [sample[name] for sample in samples]
            axes.plot(minutes, values, color=colour, linewidth=1, alpha=0.35)
            axes.plot(minutes, _smooth(values), color=colour, linewidth=1.8, label=label)
        axes.set_ylim(0, axes.get_ylim()[1])
        axes.set_title(title)
        if len(lines) > 1:
            axes.legend(loc="best", ncols=2)
    for axes in panels[2:]:
        axes.set_xlabel("minutes")


def _smooth(values: Sequence[float], around: int = 3) -> list[float]:
    """Return the median of each value and its neighbours, those that are missing aside."""
    return [median(values[max(place - around, 0) : place + around + 1]) for place in range(len(values))]


if __name__ == "__main__":
    main()
