"""`mmmamba test`, `tools/test.py`: score a checkpoint."""

from __future__ import annotations

import argparse

from ..evaluation.expected import TOLERANCE
from .calls import test
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
        "checkpoint",
        nargs="?",
        help="file or URL, or exported file; with --demo, or a run's folder in place of the "
        "config, its last one",
    )
    parser.add_argument(
        "--out", metavar="PATH", help="save predictions: a .pkl, or a folder of maps (mmseg)"
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
        f"of AP, mIoU or accuracy away ({TOLERANCE})",
    )


def run(args: argparse.Namespace) -> int:
    """Score a checkpoint; the exit code is 1 where `--verify` finds other metrics."""
    settings = run_settings(args)
    # Where it is not named, a demo has a folder of its own for them.
    if args.show_dir is not None:
        settings["show_dir"] = args.show_dir
    return test(
        settings.pop("config"),
        args.checkpoint,
        cfg_options=settings.pop("options"),
        **settings,
        out=args.out,
        show=args.show,
        wait_time=args.wait_time,
        tta=args.tta,
        fuse=args.fuse,
        precision=args.precision,
        graphs=args.graphs,
        tf32=args.tf32,
        verify=args.verify,
    ).code
