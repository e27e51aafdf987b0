"""The result of one run as a table for the terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table


def show(result: dict[str, Any], console: Console) -> None:
    """Print a run's lines with their targets, all absolute figures, and what could not be measured."""
    table = Table(title="Against the targets", title_justify="left")
    for column in ("what", "median", "min to max", "yardstick", "target", "reached"):
        table.add_column(column, justify="left" if column in ("what", "yardstick") else "right")
    for row in result["rows"]:
        found = result["measurements"]
        table.add_row(
            row["what"],
            number(row["median"], row["unit"]),
            f"{number(row['min'])} to {number(row['max'])}",
            found[row["over"]]["what"] if row["over"] else "",
            row["target"],
            {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[row["reached"]],
        )
    console.print(table)
    figures = Table(title="Absolute figures", title_justify="left")
    for column in ("what", "median", "min to max", "unit"):
        figures.add_column(column, justify="right" if column in ("median", "min to max") else "left")
    for one in result["measurements"].values():
        spread = f"{number(one['min'])} to {number(one['max'])}"
        figures.add_row(one["what"], number(one["median"]), spread, one["unit"])
    console.print(figures)
    for name, why in result["left_out"].items():
        console.print(f"Not measured: {name}: {why}", highlight=False, soft_wrap=True)


def number(value: float, unit: str = "") -> str:
    """Return a figure as people read it: no more digits than count."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}".strip()
