"""`mmmamba test`, `tools/test.py`: score a checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.config import Config

from ..engine.reliability import find_last
from ..engine.runs import open_run, test
from ..errors import UsageError
from ..evaluation.expected import TOLERANCE
from .run_arguments import (
    add_precision_argument,
    add_run_arguments,
    add_speed_arguments,
    run_settings,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `tools/test.py`."""
    add_run_arguments(parser)
    parser.add_argument(
        "checkpoint", nargs="?", help="file or URL; with --demo the last one of the work dir"
    )
    parser.add_argument(
        "--out", metavar="PATH", help="save predictions: a .pkl (mmdet) or a folder of maps (mmseg)"
    )
    parser.add_argument("--show", action="store_true", help="show predictions in a window")
    parser.add_argument("--show-dir", metavar="DIR", help="save pictures of predictions to DIR")
    parser.add_argument(
        "--wait-time", type=float, default=2.0, help="seconds each picture is shown"
    )
    parser.add_argument("--tta", action="store_true", help="test-time augmentation")
    parser.add_argument(
        "--fuse",
        action=argparse.BooleanOptionalAction,
        help="fold batch norms into convolutions: same output but for rounding, faster; by default "
        "where predictions are in half precision",
    )
    add_precision_argument(parser)
    add_speed_arguments(parser)
    parser.add_argument(
        "--verify",
        nargs="?",
        type=float,
        const=TOLERANCE,
        metavar="POINTS",
        help="compare with the config's `expected`; exit code 1 where a metric is more than POINTS "
        f"of AP or mIoU away ({TOLERANCE})",
    )


def run(args: argparse.Namespace) -> int:
    """Score a checkpoint; the exit code is that of `engine.runs.test`."""
    cfg = open_run(**run_settings(args))
    show_dir = args.show_dir
    # A demo is for looking at.
    if args.demo and show_dir is None:
        show_dir = str(Path(cfg.work_dir) / "predictions")
    return test(
        cfg,
        args.checkpoint or _checkpoint_of_demo(cfg, args),
        out=args.out,
        show=args.show,
        show_dir=show_dir,
        wait_time=args.wait_time,
        tta=args.tta,
        fuse=args.fuse,
        precision=args.precision,
        graphs=args.graphs,
        tf32=args.tf32,
        verify=args.verify,
    )


def _checkpoint_of_demo(cfg: Config, args: argparse.Namespace) -> str:
    """The last checkpoint of the demo's work dir; of anything else it has to be named."""
    if not args.demo:
        raise UsageError(f"name a checkpoint to test: tools/test.py {args.config} CHECKPOINT")
    latest = find_last(cfg.work_dir)
    if not latest:
        raise UsageError(
            f"no checkpoint in {cfg.work_dir}; train first: tools/train.py {cfg.filename} --demo"
        )
    return latest
