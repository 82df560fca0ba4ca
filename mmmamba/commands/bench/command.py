"""``mmmamba bench``: speed, memory and size, beside models of timm."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from functools import partial

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from ...config.find import config_name, find_config, list_configs
from ...config.open import open_config
from ...errors import UsageError
from ...inference.opening import choose_device
from ...models.backbones import list_backbones
from ...ops.selective_scan import resolve
from ...suggest import did_you_mean
from ..environment import hardware, versions
from . import measure as benchmark

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
PLAIN_WIDTH = 120
EXAMPLE = (
    "example: mmmamba bench vmamba_t --size 800x1333 --train --beside swin_tiny_patch4_window7_224"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument(
        "model", metavar="CONFIG_OR_BACKBONE", help="a whole detector or segmentor, or a backbone"
    )
    parser.add_argument(
        "--size",
        type=_size,
        default=(800, 1333),
        metavar="HxW",
        help="of the images (800x1333), padded to multiples of 32",
    )
    parser.add_argument(
        "--train", action="store_true", help="forward and backward, not inference alone"
    )
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="images at a time (1)")
    parser.add_argument(
        "--beside", nargs="+", default=[], metavar="MODEL", help="backbones of timm, or of ours"
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, default="float32", help="of autocast (float32: none)"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1 … (cuda where there is one)")
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="that each model is timed for, at least (3)"
    )


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"wanted HEIGHTxWIDTH such as 800x1333, or 224, not {text!r}"
        )
    return int(match[1]), int(match[2] or match[1])


def run(args: argparse.Namespace) -> int:
    if args.batch < 1 or args.seconds <= 0:
        raise UsageError(
            f"--batch is {args.batch} and --seconds {args.seconds:g}, wanted at least 1 and more than 0"
        )
    dtype = DTYPES[args.dtype]
    task = benchmark.Task(
        *args.size, args.batch, choose_device(args.device), dtype, args.train, args.seconds
    )
    subjects = _subjects(args.model, task)
    # The backbone of a config is what peers are compared with, not the whole detector.
    first = len(subjects) - 1
    subjects += [_peer(name, task) for name in args.beside]
    _print_conditions(task)
    _print_results(list(benchmark.measure_each(subjects, task)), first)
    return 0


def _subjects(name: str, task: benchmark.Task) -> list[Callable[[], benchmark.Subject]]:
    if name in list_backbones():
        return [partial(benchmark.backbone_subject, name, task)]
    if "/" not in name and not name.endswith(".py") and not list_configs(name):
        known = [*list_backbones(), *map(config_name, list_configs())]
        raise UsageError(
            f"{name} is neither a backbone nor a config.{did_you_mean(name, known, 3)}"
        )
    path = find_config(name)
    cfg = open_config(path)
    benchmark.check_model(path, cfg)
    return [
        partial(benchmark.config_subject, path.stem, cfg, task),
        partial(benchmark.config_backbone, cfg, task),
    ]


def _peer(name: str, task: benchmark.Task) -> Callable[[], benchmark.Subject]:
    if name in list_backbones():
        return partial(benchmark.backbone_subject, name, task)
    benchmark.check_timm(name)
    return partial(benchmark.timm_subject, name, task)


def _console() -> Console:
    console = Console(highlight=False, soft_wrap=True)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def _print_conditions(task: benchmark.Task) -> None:
    console, found = _console(), versions()
    what = "forward and backward" if task.train else "inference"
    height, width = task.padded
    console.print(
        f"{what}, {task.batch} x {height}x{width} (from {task.height}x{task.width}), "
        f"{str(task.dtype).removeprefix('torch.')}{'' if task.dtype == torch.float32 else ' autocast'}",
        soft_wrap=True,
    )
    console.print(hardware(task.device))
    console.print(
        f"mmmamba {found['mmmamba']}, torch {found['torch']}, scan backend {resolve(task.device)}"
    )


def _print_results(results: list[benchmark.Result], first: int) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("model")
    for column in ("params, M", "GFLOPs", "ms", "images/s", "peak MiB", "speed"):
        table.add_column(column, justify="right")
    reference = results[first].images_per_second
    for place, r in enumerate(results):
        size = f"{r.parameters / 1e6:.1f}"
        if r.milliseconds is None:
            table.add_row(r.name, size, "–", "out of memory", "–", "–", "–")
            continue
        peak = "–" if r.peak_mib is None else f"{r.peak_mib:,.0f}"
        speed = f"{r.images_per_second / reference:.2f}x" if reference and place >= first else "–"
        table.add_row(
            r.name,
            size,
            f"{r.gflops:.1f}",
            f"{r.milliseconds:.1f}",
            f"{r.images_per_second:.2f}",
            peak,
            speed,
        )
    _console().print(
        table,
        f"GFLOPs: multiply-adds of an image's forward pass. ms: median of a step. speed: beside "
        f"{results[first].name}.",
        sep="\n",
    )
