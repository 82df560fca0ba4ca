"""Reports as tables for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .kinds import KINDS
from .report import KEPT, Report

SHOWN = 3
"""Examples of each kind."""
FILES = ("label-unparsed", "label-class", "label-outside", "image-skipped", "label-imageless")
"""Kinds that name files which are not used: all that are kept are shown."""
COLOURS = {"stop": "bold red", "fault": "yellow", "note": "dim"}
WORDS = {"stop": "stops training", "fault": "fault", "note": "note"}
LARGE_TABLE = 30
"""Classes from which on two stand in a row."""


def print_report(report: Report, console: Console) -> None:
    """Print what was found, worst first, and how much there is of each class."""
    console.print(
        f"\n[bold]{escape(report.name)}[/bold]  {report.images} images  {escape(report.file)}"
    )
    if report.classes:
        console.print(class_table(report))
    # COLOURS has the severities from the worst to the least; those of one keep their order.
    order = sorted(report.counts, key=lambda kind: list(COLOURS).index(KINDS[kind].severity))
    for kind in order:
        known = KINDS[kind]
        colour = COLOURS[known.severity]
        console.print(
            f"[{colour}]{WORDS[known.severity]}: {known.title}[/{colour}] "
            f"× {report.counts[kind]} ({known.advice})",
            highlight=False,
        )
        # A note's examples say little, but of these it is the names that matter.
        if known.severity != "note" or kind in ("class-empty", "classes-left"):
            shown = KEPT if kind in FILES else SHOWN
            for finding in report.examples[kind][:shown]:
                console.print(f"    {escape(str(finding))}", highlight=False, soft_wrap=True)
            if report.counts[kind] > shown:
                console.print(f"    … and {report.counts[kind] - shown} more", style="dim")
    if not report.counts:
        console.print("[green]nothing to complain about[/green]")


def class_table(report: Report) -> Table:
    """Objects or pixels, and images, of each class."""
    total = sum(count.amount for count in report.classes.values()) or 1
    # Where images have one class each, they are what is counted.
    columns = dict.fromkeys((report.unit, "%", "images"))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    halves = 2 if len(report.classes) > LARGE_TABLE else 1
    for _ in range(halves):
        table.add_column("class")
        for column in columns:
            table.add_column(column, justify="right")
    rows = [
        (
            # Rich takes square brackets in a name for markup.
            escape(name),
            f"{count.amount:,}",
            f"{100 * count.amount / total:.1f}",
            f"{count.images:,}",
        )[: 1 + len(columns)]
        for name, count in report.classes.items()
    ]
    # Read down the left half, then the right one, which may be a row shorter.
    half = -(-len(rows) // halves)
    for index in range(half):
        beside = rows[half + index : half + index + 1] if halves == 2 else []
        table.add_row(*rows[index], *(beside[0] if beside else ()))
    return table
