"""What was measured, as a table on the screen and as a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from ...errors import UsageError
from ..environment import hardware
from .measure import Result
from .subjects import RunBy
from .task import Task

PLAIN_WIDTH = 120
COLUMNS = ("params, M", "GFLOPs", "ms", "images/s", "peak MiB", "speed")


def console() -> Console:
    """Standard output; as wide as the table where it is no terminal."""
    terminal = Console(highlight=False, soft_wrap=True)
    return terminal if terminal.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def print_results(results: list[Result], first: int) -> None:
    """A table; speeds are beside that of the result with number `first`."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("model", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for result, speed in zip(results, _speeds(results, first)):
        table.add_row(result.name, *_cells(result, speed))
    note = "GFLOPs: multiply-adds of an image's forward pass. ms: median of a step."
    if first < len(results):
        note += f" speed: beside {results[first].name}."
    lines = [_of_file(result.name, result.run_by) for result in results if result.run_by]
    console().print(table, *lines, note, sep="\n")


def _of_file(name: str, run_by: RunBy) -> str:
    threads = f"{run_by.threads} thread{'s' if run_by.threads > 1 else ''}"
    return f"{name}: {run_by.mib:.1f} MiB, {run_by.precision}, {run_by.runtime}, {threads}"


def check_place(path: Path) -> None:
    """Make sure that a table can be written there, before minutes are spent on it.

    Raises:
        UsageError: it cannot.
    """
    if path.suffix.lower() != ".csv":
        raise UsageError(
            f"--out {path}: the table is a CSV file, name it {path.with_suffix('.csv')}"
        )
    if path.is_dir() or not path.resolve().parent.is_dir():
        fault = "that is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise UsageError(f"--out {path}: {fault}")


def write_results(path: Path, results: list[Result], first: int, task: Task) -> None:
    """A row for each model, with what it was measured on; cells without a number are empty."""
    height, width = task.padded
    shared = dict(
        task="training" if task.train else "inference",
        batch=task.batch,
        height=height,
        width=width,
        device=hardware(task.device),
    )
    rows = []
    for result, speed in zip(results, _speeds(results, first)):
        numbers = dict(
            model=result.name,
            parameters=result.parameters,
            gflops=_rounded(result.gflops),
            milliseconds=_rounded(result.milliseconds),
            images_per_second=_rounded(result.images_per_second),
            peak_mib=_rounded(result.peak_mib),
            speed=_rounded(speed),
        )
        rows.append(numbers | shared | _runtime(result, task))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _runtime(result: Result, task: Task) -> dict[str, object]:
    """What ran a model, in which precision."""
    if result.run_by is None:
        threads = torch.get_num_threads() if task.device.type == "cpu" else None
        precision = str(task.precision.dtype).removeprefix("torch.")
        return dict(precision=precision, runtime="torch", threads=threads, file_mib=None)
    return dict(
        precision=result.run_by.precision,
        runtime=result.run_by.runtime,
        threads=result.run_by.threads,
        file_mib=_rounded(result.run_by.mib),
    )


def _speeds(results: list[Result], first: int) -> list[float | None]:
    """How many times as fast as the result with number `first` those from there on are."""
    reference = results[first].images_per_second if first < len(results) else None
    speeds: list[float | None] = []
    for place, result in enumerate(results):
        measured = result.images_per_second if place >= first else None
        speeds.append(measured / reference if measured and reference else None)
    return speeds


def _rounded(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.5g}")


def _cells(result: Result, speed: float | None) -> tuple[str, ...]:
    """What stands in a row behind the name."""
    size = "–" if result.parameters is None else f"{result.parameters / 1e6:.1f}"
    if result.milliseconds is None:
        return size, "–", "out of memory", "–", "–", "–"
    return (
        size,
        "–" if result.gflops is None else f"{result.gflops:.1f}",
        f"{result.milliseconds:.1f}",
        f"{result.images_per_second:.2f}",
        "–" if result.peak_mib is None else f"{result.peak_mib:,.0f}",
        "–" if speed is None else f"{speed:.2f}x",
    )
