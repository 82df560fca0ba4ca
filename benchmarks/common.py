"""What the scripts of this folder share: the device, clocks, tables, and the record of a run.

A script first checks that what it times computes the right thing, then times it, prints a table,
and with `--out FILE` writes the same rows, not rounded, beside the facts of the run. Needs torch
alone, so that a script may import it before it decides what else it needs.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import importlib.metadata
import json
import math
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
# Scripts measure the package that they lie beside, and check it by `tests.parity`.
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NAN = float("nan")
MIB, GIB = 2**20, 2**30

PACKAGES = ("torch", "triton", "timm", "onedl-mmcv", "onedl-mmdetection", "mamba-ssm")
"""Whose versions a record holds, where they are installed."""
ENVIRONMENT = ("MMMAMBA_PARITY_DEVICE", "MMMAMBA_SCAN_BACKEND", "OMP_NUM_THREADS")
"""Variables that change what is measured, and belong to the command."""


def parser(doc: str, **options: Any) -> argparse.ArgumentParser:
    """A parser that is described by a script's docstring and takes `--out`."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, **options
    )
    made.add_argument("--out", type=Path, help="JSON to write, for benchmarks/results")
    return made


def now() -> float:
    """Seconds, when the GPU has done all that it was given."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def median_ms(run: Callable[[], object], warmup: int, rep: int) -> float:
    """Median milliseconds of a call by CUDA events, the cache emptied before each.

    Args:
        run: what is timed.
        warmup, rep: milliseconds of calls before, and of calls that count.
    """
    from triton.testing import do_bench

    return do_bench(run, warmup=warmup, rep=rep, return_mode="median")


def mean_ms(run: Callable[[], object], count: int) -> float:
    """Mean milliseconds of calls right after each other, by two CUDA events around them all."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(count):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / count


def wall_ms(run: Callable[[], object], count: int) -> float:
    """Mean milliseconds of calls right after each other, by the clock on the wall."""
    start = now()
    for _ in range(count):
        run()
    return (now() - start) / count * 1e3


def copy_speed(numbers: int = 2**28) -> float:
    """Bytes a millisecond, read and written, at which this card copies float32 numbers."""
    source = torch.randn(numbers, device="cuda")
    target = torch.empty_like(source)
    spent = median_ms(lambda: target.copy_(source), warmup=25, rep=100)
    return 2 * source.nbytes / spent


def clean() -> None:
    """Give memory back that nothing uses, and begin to look for a new peak."""
    gc.collect()
    if DEVICE == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gib() -> float:
    """The most that was allocated at once since the last `clean`; NaN without a GPU."""
    return torch.cuda.max_memory_allocated() / GIB if DEVICE == "cuda" else NAN


def processor() -> str:
    """Name of the CPU."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor() or platform.machine()


def hardware(device: str = DEVICE) -> str:
    """Name of the card, or of the CPU with its cores and the threads in use."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{processor()}, {torch.get_num_threads()} threads on {os.cpu_count()} cores"


def command() -> str:
    """What was typed, with the variables that matter."""
    settings = [f"{name}={os.environ[name]}" for name in ENVIRONMENT if name in os.environ]
    script = Path(sys.argv[0]).resolve()
    name = script.relative_to(ROOT) if script.is_relative_to(ROOT) else script.name
    return " ".join([*settings, "python", shlex.join([str(name), *sys.argv[1:]])])


def versions() -> dict[str, str]:
    """Versions of what is installed of `PACKAGES`."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def facts(device: str = DEVICE) -> dict[str, Any]:
    """What a figure means nothing without: date, hardware, versions and command."""
    return dict(
        date=datetime.date.today().isoformat(),
        hardware=hardware(device),
        versions=versions(),
        command=command(),
    )


@dataclass(frozen=True)
class Column:
    """A column of a printed table.

    Args:
        heading: above it.
        key: of the rows.
        form: how a number is written, as after the colon of an f-string.
    """

    heading: str
    key: str
    form: str = ""

    def cell(self, row: dict[str, Any]) -> str:
        value = row.get(self.key)
        if value is None:
            return ""
        if isinstance(value, bool):
            return "yes" if value else "NO"
        if isinstance(value, (list, tuple)):
            return " x ".join(map(str, value))
        return format(value, "" if isinstance(value, str) else self.form)


class Table:
    """Rows of figures, printed rounded and kept as they are.

    Args:
        name: in the record.
        title: above the printed table; the facts of the run follow.
        columns: what is printed. Rows may hold more.
    """

    def __init__(self, name: str, title: str, *columns: Column):
        self.name, self.title, self.columns = name, title, columns
        self.rows: list[dict[str, Any]] = []

    def add(self, **row: Any) -> None:
        """Keep a row; what it lacks of the columns is printed as empty."""
        self.rows.append(row)

    def show(self, width: int = 120) -> None:
        """Print what there is."""
        from rich.console import Console
        from rich.table import Table as Printed

        about = f"{hardware()}, torch {torch.__version__}"
        printed = Printed(*(c.heading for c in self.columns), title=f"{self.title}. {about}")
        for row in self.rows:
            printed.add_row(*(column.cell(row) for column in self.columns))
        Console(width=width).print(printed)


def save(out: Path | None, *tables: Table, device: str = DEVICE, **more: Any) -> None:
    """Write tables and the facts of the run as JSON, where a file is named."""
    if out is None:
        return
    record = dict(about=facts(device), **more)
    record["tables"] = {table.name: [_plain(row) for row in table.rows] for table in tables}
    out.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Without what JSON has no word for: NaN becomes null."""
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in row.items()
    }


def verdict(missed: Iterable[str], well: str) -> int:
    """Print what was wanted and missed, or that all is well; the exit code."""
    missed = list(missed)
    print("\n".join(f"MISSED {miss}" for miss in missed) or well)
    return int(bool(missed))
