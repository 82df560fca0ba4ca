"""`mmmamba doctor`: what is installed, what runs where, and whether it is right."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Iterable

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from ...compat import compiled_extension
from ...engine.precision import choose_precision
from ...inference.opening import choose_device
from ...ops.launch import DTYPES, HAS_TRITON
from ...ops.layer_norm import MAX_WIDTH
from ...ops.selective_scan import ENVIRONMENT
from ..environment import hardware, mmcv_operators, versions
from .bandwidth import measure_rates
from .checks import Check
from .choices import scan_choices, scan_problem
from .mmcv_checks import check_mmcv_operators
from .norm_checks import check_layer_norm
from .scan_checks import check_scan

PLAIN_WIDTH = 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "What is installed, what runs where and why, and whether it is right: "
        "paste it into an issue."
    )
    parser.add_argument(
        "--device", help="check only this one: cpu, cuda, cuda:1 … (the CPU and the first GPU)"
    )
    parser.add_argument("--no-speed", action="store_true", help="do not measure bytes a second")


def run(args: argparse.Namespace) -> int:
    names = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    devices = [choose_device(name) for name in ([args.device] if args.device else names)]
    log = logging.getLogger("mmmamba")
    level = log.level
    # Its lines say which backend was taken, which the tables do.
    log.setLevel(logging.WARNING)
    try:
        return _examine(devices, not args.no_speed)
    finally:
        log.setLevel(level)


def _examine(devices: list[torch.device], speed: bool) -> int:
    """Print all tables and what failed. Returns the exit code."""
    console = Console(highlight=False)
    # In a file or a pipe rich would take 80 columns and fold the reasons.
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    console.print(_installed(devices))
    console.print(_scan_backends(devices))
    console.print(_other_operators(devices))
    checks: list[Check] = []
    for device in devices:
        checks += _check_device(device)
    console.print(_results(checks))
    problems = {device: scan_problem(device) for device in devices}
    # A device without a scan has no speed to measure, and is told as a failure below.
    if speed:
        console.print(_speeds(device for device in devices if problems[device] is None))
    failed = [_failure(check) for check in checks if not check.passed]
    missing = [problem for problem in problems.values() if problem is not None]
    for line in [*failed, *missing]:
        # Plain text: brackets in an error would be taken for styles.
        console.print(f"FAILED: {line}", markup=False)
    console.print(f"{len(checks) - len(failed)} of {len(checks)} checks passed")
    return 1 if failed or missing else 0


def _check_device(device: torch.device) -> list[Check]:
    checks = []
    for choice in scan_choices(device):
        if choice.runs:
            checks += check_scan(choice.backend, device)
    return [*checks, *check_layer_norm(device), *check_mmcv_operators(device)]


def _failure(check: Check) -> str:
    found = check.problem or f"relative error {check.error:.1e}"
    return f"{check.operator}, {check.backend} on {check.device}, {_name(check.dtype)}: {found}"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _installed(devices: list[torch.device]) -> Table:
    table = _table("Installed", "what", "version")
    for name, version in versions().items():
        table.add_row(name, version)
    for device in devices:
        table.add_row(str(device), hardware(device))
        table.add_row("predictions in", str(choose_precision("auto", device)))
    if not torch.cuda.is_available():
        cuda = torch.version.cuda
        built = f"built for CUDA {cuda}" if cuda else "built without CUDA"
        table.add_row("cuda", f"PyTorch sees no GPU ({built})")
    table.add_row("mmcv's operators", mmcv_operators())
    table.add_row(f"${ENVIRONMENT}", os.environ.get(ENVIRONMENT) or "not set")
    return table


def _scan_backends(devices: list[torch.device]) -> Table:
    table = _table(
        "Selective scan: the same backend for every dtype", "device", "backend", "", "why"
    )
    for device in devices:
        for choice in scan_choices(device):
            table.add_row(choice.device, choice.backend, choice.state, choice.why)
    return table


def _other_operators(devices: list[torch.device]) -> Table:
    """The rules of `ops.layer_norm` and `compat`, in words."""
    table = _table("Other operators", "device", "operator", "dtype", "backend", "why")
    low = ", ".join(map(_name, DTYPES))
    if compiled_extension():
        mmcv = ("as built", "compiled", "a compiled mmcv._ext comes first")
    else:
        mmcv = ("all", "mmmamba.compat", "no compiled mmcv._ext; half in float32")
    for device in devices:
        name = str(device)
        if device.type == "cuda" and HAS_TRITON:
            table.add_row(name, "layer_norm", low, "triton", f"up to {MAX_WIDTH:,} channels")
            table.add_row("", "", "float64", "torch", "no kernel for it")
        else:
            table.add_row(name, "layer_norm", "all", "torch", "Triton's kernels are for CUDA")
        table.add_row(name, "mmcv.ops", *mmcv)
    return table


def _results(checks: list[Check]) -> Table:
    """A row for each operator and backend, a column for each dtype: the largest relative error."""
    dtypes = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    title = "Self-test: largest relative error of output and gradients"
    table = _table(title, "device", "operator", "backend", *map(_name, dtypes))
    rows: dict[tuple[str, str, str], dict[torch.dtype, Check]] = {}
    for check in checks:
        rows.setdefault((check.device, check.operator, check.backend), {})[check.dtype] = check
    for row, by_dtype in rows.items():
        cells = [_cell(by_dtype.get(dtype)) for dtype in dtypes]
        table.add_row(*row, *cells)
    return table


def _cell(check: Check | None) -> str:
    if check is None:
        return "–"
    found = "no result" if check.error is None else f"{check.error:.0e}"
    return f"{found} {'ok' if check.passed else 'FAILED'}"


def _speeds(devices: Iterable[torch.device]) -> Table:
    table = _table("Bytes moved, each tensor counted once", "device", "what", "GB/s")
    for device in devices:
        for rate in measure_rates(device):
            table.add_row(rate.device, rate.what, f"{rate.gigabytes_per_second:.1f}")
    return table
