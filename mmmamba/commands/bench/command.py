"""`mmmamba bench`: speed, memory and size of models beside one another and models of timm."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from mmengine.config import Config

from ...config.find import config_name, find_config, list_configs
from ...config.open import open_config
from ...engine.precision import Precision, choose_precision
from ...engine.preflight import check_graphs
from ...engine.tf32 import choose_tf32, tf32_products
from ...errors import UsageError
from ...exporting.files import format_of
from ...exporting.flags import refuse_flags
from ...inference.opening import choose_device
from ...inference.opening import find_files as config_and_checkpoint
from ...models.backbones import list_backbones
from ...ops.selective_scan import resolve
from ...suggest import did_you_mean
from ..environment import hardware, versions
from ..run_arguments import add_precision_argument, add_speed_arguments
from .files import file_subject, find_files, shape_of_all, size_of_classifiers
from .measure import Result, measure_each
from .subjects import (
    Subject,
    backbone_subject,
    check_model,
    check_timm,
    config_backbone,
    config_subject,
    timm_subject,
)
from .table import check_place, console, print_results, write_results
from .task import Task

EXAMPLE = (
    "example: mmmamba bench vmamba_t --size 800x1333 --train --beside swin_tiny_patch4_window7_224"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument(
        "models",
        nargs="+",
        metavar="CONFIG_OR_BACKBONE",
        help="whole detectors, segmentors or classifiers, by config or folder of a run, backbones, "
        "or exported files; one config is measured with its backbone beside it, of several each is "
        "a row",
    )
    parser.add_argument(
        "--size",
        type=_size,
        metavar="HxW",
        help="of the images (a file's; that of the config's tests where all are classifiers; else "
        "800x1333; padded to multiples of 32)",
    )
    parser.add_argument(
        "--train", action="store_true", help="forward and backward, not inference alone"
    )
    parser.add_argument("--batch", type=int, metavar="N", help="images at a time (a file's, or 1)")
    parser.add_argument(
        "--beside", nargs="+", default=[], metavar="MODEL", help="backbones of timm, or of ours"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE.csv", help="write the table to a CSV file as well"
    )
    add_precision_argument(parser)
    add_speed_arguments(parser)
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
    if args.batch is not None and args.batch < 1:
        raise UsageError(f"--batch is {args.batch}, wanted at least 1")
    if args.seconds <= 0:
        raise UsageError(f"--seconds is {args.seconds:g}, wanted more than 0")
    if args.out is not None:
        check_place(args.out)
    device = choose_device(args.device)
    _refuse_for_files(args)
    check_graphs(args.graphs, device)
    with tf32_products(choose_tf32(args.tf32, device)):
        return _measure(args, device)


def _measure(args: argparse.Namespace, device: torch.device) -> int:
    size = args.size or size_of_classifiers(_configs(args.models))
    shape = shape_of_all(find_files(args.models), size, args.batch)
    task = Task(
        shape.height,
        shape.width,
        shape.batch,
        device,
        _precision(args, device),
        args.train,
        args.seconds,
        args.graphs,
        shape.divisor,
    )
    # All names are looked up before the first model is timed.
    found = [_subjects(name, task, args.device) for name in args.models]
    alone = len(found) == 1
    subjects = found[0] if alone else [whole for whole, *_ in found]
    # The backbone of a config is what peers are compared with, not the whole detector.
    first = len(subjects) - 1 if alone else 0
    subjects += [_peer(name, task) for name in args.beside]
    _print_conditions(task)
    results: list[Result] = []
    try:
        for result in _shown(measure_each(subjects, task), len(subjects)):
            results.append(result)
    finally:
        # What was measured before a model that cannot be.
        if results:
            print_results(results, first)
            if args.out is not None:
                write_results(args.out, results, first, task)
                print(f"written to {args.out}")
    return 0


def _refuse_for_files(args: argparse.Namespace) -> None:
    """What files do not take; other models beside them may."""
    files = [name for name in args.models if format_of(name) is not None]
    if not files:
        return
    refuse_flags(files[0], train=args.train)
    if len(files) == len(args.models) and not args.beside:
        refuse_flags(
            files[0],
            precision=None if args.precision == "auto" else args.precision,
            graphs=None if args.graphs == "auto" else args.graphs,
            tf32=None if args.tf32 is None else "on" if args.tf32 else "off",
        )


def _shown(results: Iterator[Result], count: int) -> Iterator[Result]:
    """The results, with a line in a terminal while each is waited for."""
    with console().status("") as status:
        for number in range(1, count + 1):
            status.update(f"measuring model {number} of {count}")
            yield next(results)


def _precision(args: argparse.Namespace, device: torch.device) -> Precision:
    """As `test` has it, and as `train`, which without `--amp` is in float32."""
    if args.train and args.precision == "auto":
        return Precision(torch.float32, device, "training without --amp")
    return choose_precision(args.precision, device)


def _subjects(name: str, task: Task, device: str | None) -> list[Callable[[], Subject]]:
    """What makes the model of that name; of a config the whole model, and its backbone."""
    if format_of(name) is not None:
        return [partial(file_subject, name, device, task)]
    if name in list_backbones():
        return [partial(backbone_subject, name, task)]
    path = _find(name)
    cfg = open_config(path)
    check_model(path, cfg)
    title = Path(name).resolve().name if Path(name).is_dir() else path.stem
    whole = partial(config_subject, title, cfg, task)
    # The backbone of a classifier is nearly all of it.
    if cfg.default_scope == "mmpretrain":
        return [whole]
    return [whole, partial(config_backbone, cfg, task)]


def _find(name: str) -> Path:
    """The config of a name, or that of a run's folder."""
    if Path(name).is_dir():
        return config_and_checkpoint(name)[0]
    if "/" not in name and not name.endswith(".py") and not list_configs(name):
        known = [*list_backbones(), *map(config_name, list_configs())]
        raise UsageError(
            f"{name} is neither a backbone nor a config.{did_you_mean(name, known, 3)}"
        )
    return find_config(name)


def _configs(names: list[str]) -> list[Config] | None:
    """The configs of names, if each is that of one."""
    if any(format_of(name) is not None or name in list_backbones() for name in names):
        return None
    return [open_config(_find(name)) for name in names]


def _peer(name: str, task: Task) -> Callable[[], Subject]:
    if name in list_backbones():
        return partial(backbone_subject, name, task)
    # Checked before the first model is timed: a name that is wrong costs no minutes.
    check_timm(name)
    return partial(timm_subject, name, task)


def _print_conditions(task: Task) -> None:
    screen, found = console(), versions()
    what = "forward and backward" if task.train else "inference"
    height, width = task.padded
    graphs = f", graphs of ours: {task.graphs}" if task.device.type == "cuda" else ""
    screen.print(
        f"{what}, {task.batch} x {height}x{width} (from {task.height}x{task.width}), "
        f"{task.precision}{graphs}",
        soft_wrap=True,
    )
    screen.print(hardware(task.device))
    screen.print(
        f"mmmamba {found['mmmamba']}, torch {found['torch']}, scan backend {resolve(task.device)}"
    )
